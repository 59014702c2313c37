//! Owns the moment at which a request leaves: its body, which HTTP asks for when the connection stands. Then the message's
//! permission is asked for a last time; from then on the other side may have it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    begun: Begun,
}

/// Whether the body was handed out.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<AtomicBool>);

impl Begun {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Departure {
    pub fn new(bytes: Bytes, outgoing: Option<&Outgoing>) -> Self {
        let guard = outgoing.map(|outgoing| (outgoing.permission.clone(), outgoing.handover.clone()));
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), guard, begun: Begun::default() }
    }

    pub fn begun(&self) -> Begun {
        self.begun.clone()
    }

    pub fn into_body(self) -> reqwest::Body {
        reqwest::Body::wrap(self)
    }
}

impl Body for Departure {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if let Some((permission, handover)) = &self.guard {
            let permission = *permission.borrow();
            if permission != Permission::Go {
                return Poll::Ready(Some(Err(io::Error::other(Withdrawn(permission)))));
            }
            handover.begin();
        }
        self.begun.0.store(true, Ordering::Release);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
