//! Owns the moment at which a request leaves: its body, which HTTP asks for when the connection stands. Then the message's
//! permission is asked for a last time; from then on the other side may have it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;

use super::failure::Withdrawn;
use crate::channels::{Handover, Outgoing, Permission};

pub(super) struct Departure {
    /// `None`: handed out.
    bytes: Option<Bytes>,
    guard: Option<(watch::Receiver<Permission>, Handover)>,
    /// Of this request alone: one that is asked again after an answer was not written yet.
    written: Handover,
}

impl Departure {
    pub fn new(bytes: Bytes, outgoing: Option<&Outgoing>) -> Self {
        let guard = outgoing.map(|outgoing| (outgoing.permission.clone(), outgoing.handover.clone()));
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), guard, written: Handover::default() }
    }

    /// Withdraw it before saying that the request was not written: HTTP asks for the body in a task of its own.
    pub fn written(&self) -> Handover {
        self.written.clone()
    }

    pub fn into_body(self) -> reqwest::Body {
        reqwest::Body::wrap(self)
    }
}

fn withdrawn(permission: Permission) -> Poll<Option<io::Result<Frame<Bytes>>>> {
    Poll::Ready(Some(Err(io::Error::other(Withdrawn(permission)))))
}

impl Body for Departure {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if let Some((permission, handover)) = &self.guard {
            let permission = *permission.borrow();
            if permission != Permission::Go {
                return withdrawn(permission);
            }
            if !handover.begin() {
                return withdrawn(Permission::Stopping);
            }
        }
        if !self.written.begin() {
            return withdrawn(Permission::Stopping);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
