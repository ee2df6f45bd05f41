//! Every type that crossbeam-channel has.

use super::library::{
    IntoIter, Iter, ReadyTimeoutError, Receiver, RecvError, RecvTimeoutError, Select, SelectTimeoutError,
    SelectedOperation, SendError, SendTimeoutError, Sender, TryIter, TryReadyError, TryRecvError,
    TrySelectError, TrySendError,
};
use crate::probe::{Row, generic, plain, row};

type OfIter<T> = Iter<'static, T>;
type OfTryIter<T> = TryIter<'static, T>;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    generic!(rows: Sender, Receiver, OfIter, OfTryIter, IntoIter, SendError, SendTimeoutError, TrySendError);
    plain!(rows: Select<'static>, SelectedOperation<'static>);
    plain!(rows: ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError);
    plain!(rows: TryReadyError, TryRecvError, TrySelectError);
    rows
}
