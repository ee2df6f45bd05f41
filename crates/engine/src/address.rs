//! A socket address in the kernel's own layout, so that an operation can pass its address to the kernel.
//!
//! It has room for any address family. `length` says how much of it is in use, in both directions.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A socket address of any family, with its length.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct SocketAddress {
    /// The address, as `bind(2)`, `connect(2)` and `accept(2)` use it.
    pub storage: libc::sockaddr_storage,
    /// The bytes of `storage` that the address takes. For a call that fills in an address, the room that it has.
    pub length: libc::socklen_t,
}

impl SocketAddress {
    /// The largest length.
    pub const CAPACITY: libc::socklen_t = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;

    /// Returns no address with room for any, for a call that fills it in.
    pub fn empty() -> SocketAddress {
        // SAFETY: `sockaddr_storage` is plain integers, so all zeroes is a value of it (the family `AF_UNSPEC`).
        SocketAddress { storage: unsafe { mem::zeroed() }, length: Self::CAPACITY }
    }

    /// Returns the address if its family is IPv4 or IPv6.
    pub fn to_inet(&self) -> Option<SocketAddr> {
        match libc::c_int::from(self.storage.ss_family) {
            libc::AF_INET => {
                let inet = self.view::<libc::sockaddr_in>()?;
                let address = Ipv4Addr::from(u32::from_be(inet.sin_addr.s_addr));
                Some(SocketAddrV4::new(address, u16::from_be(inet.sin_port)).into())
            }
            libc::AF_INET6 => {
                let inet = self.view::<libc::sockaddr_in6>()?;
                let address = Ipv6Addr::from(inet.sin6_addr.s6_addr);
                let port = u16::from_be(inet.sin6_port);
                Some(SocketAddrV6::new(address, port, inet.sin6_flowinfo, inet.sin6_scope_id).into())
            }
            _ => None,
        }
    }

    /// Makes an address of `inner`.
    fn from_inner<T: FamilyAddress>(inner: T) -> SocketAddress {
        let mut address = SocketAddress::empty();
        // SAFETY: a `FamilyAddress` fits into `sockaddr_storage`, in size and in alignment.
        unsafe { (&raw mut address.storage).cast::<T>().write(inner) };
        address.length = mem::size_of::<T>() as libc::socklen_t;
        address
    }

    /// Returns the storage as the address of one family; `None` if `length` says that it is incomplete.
    fn view<T: FamilyAddress>(&self) -> Option<&T> {
        let complete = self.length as usize >= mem::size_of::<T>();
        // SAFETY: a `FamilyAddress` fits into `sockaddr_storage`, and any bytes are a value of it.
        complete.then(|| unsafe { &*(&raw const self.storage).cast::<T>() })
    }
}

/// The address structure of one family.
///
/// # Safety
/// It is plain integers, and neither larger nor more strictly aligned than `sockaddr_storage`.
unsafe trait FamilyAddress: Copy {}

// SAFETY: `sockaddr_storage` is defined to hold it, and it is plain integers.
unsafe impl FamilyAddress for libc::sockaddr_in {}
// SAFETY: `sockaddr_storage` is defined to hold it, and it is plain integers.
unsafe impl FamilyAddress for libc::sockaddr_in6 {}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> SocketAddress {
        match address {
            SocketAddr::V4(address) => SocketAddress::from_inner(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(address) => SocketAddress::from_inner(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            }),
        }
    }
}

impl std::fmt::Debug for SocketAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to_inet() {
            Some(address) => write!(formatter, "SocketAddress({address})"),
            None => {
                write!(formatter, "SocketAddress(family {}, {} bytes)", self.storage.ss_family, self.length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_way_through_the_kernels_shape() {
        for text in ["127.0.0.1:8080", "255.1.2.3:0", "[::1]:65535", "[2001:db8::7]:443"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddress::from(address).to_inet(), Some(address));
        }
        let scoped = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 0x0102_0304, 5));
        assert_eq!(SocketAddress::from(scoped).to_inet(), Some(scoped));
    }

    #[test]
    fn the_kernel_reads_it_as_std_wrote_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut address = SocketAddress::empty();
        // SAFETY: the address and its length are places of the right size.
        let result = unsafe {
            libc::getsockname(
                std::os::fd::AsRawFd::as_raw_fd(&listener),
                (&raw mut address.storage).cast(),
                &raw mut address.length,
            )
        };
        assert_eq!(result, 0);
        assert_eq!(address.to_inet(), Some(listener.local_addr().unwrap()));
    }

    #[test]
    fn what_is_no_internet_address_is_none() {
        assert_eq!(SocketAddress::empty().to_inet(), None);
        let mut cut_short = SocketAddress::from(SocketAddr::from(([127, 0, 0, 1], 80)));
        cut_short.length = 4;
        assert_eq!(cut_short.to_inet(), None);
    }
}
