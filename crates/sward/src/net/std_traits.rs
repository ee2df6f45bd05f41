//! What std's socket types implement that has nothing to do with waiting: `Debug`, and the conversions from and into descriptors. The
//! same for each of our types, since each has std's inside.

/// Implements them for a type that has std's type of the same name in its field `inner`, and converts from and into that.
macro_rules! std_traits {
    ($socket:ident) => {
        impl std::fmt::Debug for $socket {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.inner.fmt(formatter)
            }
        }

        impl From<std::os::fd::OwnedFd> for $socket {
            fn from(descriptor: std::os::fd::OwnedFd) -> $socket {
                std::net::$socket::from(descriptor).into()
            }
        }

        impl From<$socket> for std::os::fd::OwnedFd {
            fn from(socket: $socket) -> std::os::fd::OwnedFd {
                std::net::$socket::from(socket).into()
            }
        }

        impl std::os::fd::AsFd for $socket {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.inner.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $socket {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.inner.as_raw_fd()
            }
        }

        impl std::os::fd::IntoRawFd for $socket {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::net::$socket::from(self).into_raw_fd()
            }
        }

        impl std::os::fd::FromRawFd for $socket {
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> $socket {
                // SAFETY: the descriptor is open, a socket of this kind, and ours from now on.
                unsafe { std::net::$socket::from_raw_fd(fd) }.into()
            }
        }
    };
}

pub(super) use std_traits;
