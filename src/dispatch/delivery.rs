//! Owns one claimed message on its way out: person, wording, one attempt, one verdict on disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::Lane;
use super::slots::{Place, Slot};
use super::state::{self, Event, falls_back};
use crate::channels::{Attempt, Handover, Outgoing, Permission, Verdict, jitter};
use crate::clock::Timestamp;
use crate::compose::{About, ComposeError, Draft, Kind};
use crate::crash;
use crate::metrics;
use crate::people::{Person, Resolution};
use crate::plan::Recipient;
use crate::record::{Dialects, Record};
use crate::store::{FinalState, Loaded, LoadedRecord, Settle, Settled};

/// A heartbeat is late after 15 s; claims are given up 25 s after the last one.
const LOST_PATIENCE: Duration = Duration::from_secs(10);
/// How long a session may take to come to the question before its final dot once we are stopping: a relay that answers
/// does so within this, and hears RSET instead of a closed connection.
const TURN_BACK: Duration = Duration::from_secs(5);

/// In whose words, and in which form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The rule's template.
    Own,
    /// The built-in wording in its place.
    BuiltIn,
    /// The built-in wording as small as can be.
    Plain,
}

/// A mail or a document that is ready to leave.
struct Ready {
    /// The real recipient, kept from the first attempt; `None`: a room.
    address: Option<Arc<str>>,
    /// Whom the envelope names: the real recipient, or the try-out address.
    to: Option<Arc<str>>,
    bytes: Bytes,
    digest: [u8; 32],
}

impl Lane {
    /// Carries `message` to a verdict on disk, or gives the claim back.
    pub(super) async fn deliver(self: Arc<Self>, message: Loaded, place: Place) {
        let now = self.parts.clock.now();
        if let Some(over) = state::over(&self.policy(), &message, now) {
            return self.settle(&message, over, None, None).await;
        }
        let mut ready = match self.prepare(&message, now) {
            Ok(ready) => ready,
            Err(event) => return self.untried(&message, event, None).await,
        };
        if message.kind == Kind::Normal && self.refused_before(&ready, now).await {
            return self.untried(&message, Event::RefusedBefore, ready.address).await;
        }
        let Some(slot) = self.slot(place).await else {
            return self.release(vec![message.claim]).await;
        };
        // The wait for the slot may have been a long one.
        if let Some(over) = state::over(&self.policy(), &message, self.parts.clock.now()) {
            drop(slot);
            return self.settle(&message, over, None, None).await;
        }
        let mut attempt = self.attempt(&message, &ready).await;
        if let Some(plain) = self.plain(&message, &ready, &attempt.verdict) {
            ready = plain;
            attempt = self.attempt(&message, &ready).await;
        }
        drop(slot); // the session may go on while the outcome is written; the receipt bounds how far
        if matches!(attempt.verdict, Verdict::Sent { .. }) {
            let change = self.outage().sent();
            self.tell(change).await;
        }
        let receipt = attempt.receipt.take();
        let event = Event::Attempted { verdict: attempt.verdict.clone(), bytes: ready.bytes, digest: ready.digest };
        let outcome = state::settled(&self.policy(), &message, event, self.parts.clock.now(), jitter());
        self.settle(&message, outcome, Some(attempt), ready.address).await;
        drop(receipt);
    }

    /// Settles what came to its end, or to a wait, without an attempt.
    async fn untried(&self, message: &Loaded, event: Event, address: Option<Arc<str>>) {
        let outcome = state::settled(&self.policy(), message, event, self.parts.clock.now(), jitter());
        self.settle(message, outcome, None, address).await;
    }

    /// Whether the mailbox was refused for good not long ago. Asked for ordinary messages only: what stands in for another has no
    /// fallback, so nobody would hear of it without an attempt; and a test is to tell what is the case now. A store that cannot
    /// say so now costs one attempt more.
    async fn refused_before(&self, ready: &Ready, now: Timestamp) -> bool {
        let (Some(address), false) = (&ready.address, self.is_redirected()) else { return false };
        match self.parts.store.is_refused(&self.name, address, now).await {
            Ok(refused) => refused,
            Err(error) => {
                tracing::warn!(channel = %self.name, %error, "whether a mailbox was refused before is not known");
                false
            }
        }
    }

    /// Every mail goes to the try-out address, whose refusal says nothing of the people.
    fn is_redirected(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.redirect_to.is_some())
    }

    /// The plain form of a message that is too big, to be tried at once in its place; `None` where it is no smaller, or where
    /// the bytes are frozen, since other bytes would be a second mail to whoever has got the first.
    fn plain(&self, message: &Loaded, ready: &Ready, verdict: &Verdict) -> Option<Ready> {
        let too_big = state::is_too_big(verdict, message, self.parts.clock.now());
        if !too_big || message.frozen.is_some() {
            return None;
        }
        let plain = self.composed(message, Form::Plain).ok()?;
        if plain.bytes.len() >= ready.bytes.len() {
            return None;
        }
        tracing::warn!(key = %message.key, bytes = ready.bytes.len(), "too big: the plain form is tried");
        Some(plain)
    }

    /// Ends an expired message of this channel that was claimed for that alone, because nothing can be sent now.
    pub(super) async fn end_expired(&self, message: &Loaded) {
        if let Some(over) = state::over(&self.policy(), message, self.parts.clock.now()) {
            self.settle(message, over, None, None).await;
        } else {
            self.release(vec![message.claim.clone()]).await;
        }
    }

    /// Ends an expired message of a channel that the configuration no longer has; this lane tells the fallback list.
    pub(super) async fn end_stranded(&self, message: &Loaded) {
        let outcome = state::stranded(&self.policy(), message, self.parts.clock.now());
        self.settle(message, outcome, None, None).await;
    }

    /// Waits for a turn. `None`: we are stopping or retired, or the heartbeat has been late for so long that the claim is
    /// void.
    async fn slot(&self, place: Place) -> Option<Slot> {
        let mut permission = self.parts.permission.clone();
        let slot = tokio::select! {
            biased;
            _ = permission.wait_for(|permission| *permission == Permission::Stopping) => return None,
            () = self.retired.cancelled() => return None,
            slot = place.turn() => slot,
        };
        let decided = timeout(LOST_PATIENCE, permission.wait_for(|permission| *permission != Permission::Lost)).await;
        matches!(decided, Ok(Ok(permission)) if *permission == Permission::Go).then_some(slot)
    }

    /// Frozen bytes as they are; else the person and the wording of now.
    fn prepare(&self, message: &Loaded, now: Timestamp) -> Result<Ready, Event> {
        // Not by any rule: the channel's `type` has changed, or an operator has moved the message.
        if matches!(message.recipient, Recipient::Room(_)) != self.sender.is_none() {
            return Err(Event::WrongChannel);
        }
        if let Some(Err(refusal)) = message.address.as_ref().map(|address| self.parts.people.permits(address)) {
            return Err(Event::Refused(refusal.as_str()));
        }
        if let Some(bytes) = message.frozen.as_ref().filter(|_| !crash::planted("new-bytes")) {
            let redirected = self.sender.as_ref().and_then(|sender| sender.redirect_to.as_deref());
            let address = message.address.clone();
            let to = address.as_ref().map(|address| redirected.map_or_else(|| address.clone(), Arc::from));
            let digest = *blake3::hash(bytes).as_bytes();
            return Ok(Ready { address, to, bytes: bytes.clone(), digest });
        }
        let form = if falls_back(message, false, now) { Form::BuiltIn } else { Form::Own };
        match self.composed(message, form) {
            Err(Event::TemplateFailed) if falls_back(message, true, now) => self.composed(message, Form::BuiltIn),
            composed => composed,
        }
    }

    /// Composes. The text of a record is foreign: should it make us panic, this
    /// message waits as for a broken template, and its neighbours go.
    fn composed(&self, message: &Loaded, form: Form) -> Result<Ready, Event> {
        catch_unwind(AssertUnwindSafe(|| self.compose(message, form))).unwrap_or_else(|_| {
            tracing::error!(key = %message.key, template = %message.template, "composing panicked");
            metrics::template_errors(message.template.clone()).increment(1);
            Err(Event::TemplateFailed)
        })
    }

    fn compose(&self, message: &Loaded, form: Form) -> Result<Ready, Event> {
        let readable = message.records.iter().filter_map(|stored| Some((read(&self.parts.dialects, stored)?, stored)));
        let (records, stored): (Vec<Record>, Vec<&LoadedRecord>) = readable.unzip();
        let person = self.sender.as_ref().map(|_| self.person(message, &records)).transpose()?;
        let key = message.key.to_string();
        // Without the records' bodies (content retention) only the built-in template can say anything; and the one of a rule
        // that is gone may now be worded for another.
        let silent = records.is_empty() || !self.parts.rules.contains(&message.rule);
        let form = if form == Form::Own && silent { Form::BuiltIn } else { form };
        // Whose part of a record is shown: with an escalation that of whom the message it stands for was for.
        let reader = message.about.as_ref().map_or(&message.recipient, |(recipient, _)| recipient);
        let shown = records.into_iter().zip(stored).map(|(record, stored)| stored.extent.shown(record, reader));
        let shown: Vec<Record> = shown.collect();
        self.render(message, &key, form, person.as_ref(), &shown).map_err(|error| {
            tracing::error!(key = %message.key, template = %message.template, "the template does not render: {error:#}");
            metrics::template_errors(message.template.clone()).increment(1);
            Event::TemplateFailed
        })
    }

    /// The mail to `person`, or the document for the room.
    fn render(
        &self,
        message: &Loaded,
        key: &str,
        form: Form,
        person: Option<&Person>,
        records: &[Record],
    ) -> Result<Ready, ComposeError> {
        let draft = Draft {
            key,
            template: &message.template,
            fallback: form != Form::Own,
            kind: message.kind,
            rule: &message.rule,
            title: &message.title,
            severity: message.severity,
            created_at: message.created_at,
            late: state::late(message),
            recipient: &message.recipient,
            person,
            records,
            people: &self.parts.people,
            about: message.about.as_ref().map(|(recipient, reason)| About { recipient, reason }),
        };
        let composer = &self.parts.composer;
        let Some(sender) = &self.sender else {
            let document = composer.document(&draft)?;
            return Ok(Ready { address: None, to: None, bytes: document.bytes, digest: document.digest });
        };
        let mail = match form {
            Form::Own | Form::BuiltIn => composer.compose(sender, &draft)?,
            Form::Plain => composer.plain(sender, &draft)?,
        };
        let address = person.map(|person| person.address.clone());
        Ok(Ready { address, to: Some(mail.to), bytes: mail.bytes, digest: mail.digest })
    }

    /// Who is behind the recipient. An address once used is kept: a second attempt must not go to somebody else.
    fn person(&self, message: &Loaded, records: &[Record]) -> Result<Person, Event> {
        let resolution = self.parts.people.resolve(&message.recipient, records);
        let result = match &resolution {
            Resolution::Found(_) => "found",
            Resolution::Unknown => "unknown",
            Resolution::Refused(refusal) => refusal.as_str(),
        };
        metrics::recipient_resolutions(result).increment(1);
        match (resolution, &message.address) {
            (Resolution::Found(person), None) => Ok(person),
            (Resolution::Found(person), Some(address)) => Ok(Person { address: address.clone(), ..person }),
            (Resolution::Unknown, Some(address)) => {
                Ok(Person { address: address.clone(), name: None, locale: None, time_zone: None })
            }
            (Resolution::Unknown, None) => Err(Event::Unknown),
            (Resolution::Refused(refusal), _) => Err(Event::Refused(refusal.as_str())),
        }
    }

    /// One attempt. A stop takes back what has not come to the handover after a moment, and cuts off the rest when it cannot
    /// wait any longer.
    async fn attempt(&self, message: &Loaded, ready: &Ready) -> Attempt {
        let outgoing = Outgoing {
            key: message.key.to_string().into(),
            to: ready.to.clone(),
            bytes: ready.bytes.clone(),
            urgent: message.claim.is_urgent(),
            permission: self.parts.permission.clone(),
            handover: Handover::default(),
        };
        let began = Instant::now();
        let mut attempt = tokio::select! {
            attempt = self.channel.attempt(&outgoing, self.parts.clock.now()) => attempt,
            () = self.parts.shutdown.hard().cancelled() => self.cut_off(&outgoing.handover),
            () = self.turned_back(&outgoing.handover) => self.cut_off(&outgoing.handover),
        };
        if matches!(attempt.verdict, Verdict::Hold { why: "auth", .. }) && crash::planted("auth-costs") {
            attempt.verdict = Verdict::Later { not_before: None };
        }
        let (verdict, reason) = match &attempt.verdict {
            Verdict::Sent { .. } => ("sent", ""),
            Verdict::Later { .. } => ("later", ""),
            Verdict::Never { reason } => ("never", *reason),
            Verdict::Ambiguous => ("ambiguous", ""),
            Verdict::Hold { why, .. } => ("hold", *why),
        };
        metrics::attempts(self.name.clone(), verdict, reason).increment(1);
        metrics::attempt_duration(self.name.clone()).record(began.elapsed().as_secs_f64());
        if verdict == "hold" {
            metrics::channel_hold(self.name.clone(), reason).increment(1);
        }
        tracing::info!(
            key = outgoing.key.as_ref(),
            channel = self.name.as_ref(),
            rule = message.rule.as_ref(),
            attempt = message.claim.attempt,
            verdict,
            reason,
            code = attempt.code,
            "attempted"
        );
        attempt
    }

    /// Takes the message back some time after the soft order, and resolves, unless the handover has begun by then.
    async fn turned_back(&self, handover: &Handover) {
        self.parts.shutdown.soft().cancelled().await;
        tokio::time::sleep(TURN_BACK).await;
        if !handover.withdraw() {
            std::future::pending::<()>().await;
        }
    }

    /// The attempt that the stop does not wait for: ambiguous only if the other side may have the message.
    fn cut_off(&self, handover: &Handover) -> Attempt {
        let verdict = if handover.withdraw() {
            Verdict::Hold { until: self.parts.clock.now(), why: "stopping" }
        } else {
            Verdict::Ambiguous
        };
        Attempt { verdict, code: None, reply: "cut off by the stop".into(), receipt: None }
    }

    /// Writes the outcome, as often as it takes until the stop cannot wait any longer.
    async fn settle(&self, message: &Loaded, outcome: Settled, attempt: Option<Attempt>, address: Option<Arc<str>>) {
        let at = self.parts.clock.now();
        let refusal = Verdict::Never { reason: state::MAILBOX_REFUSED };
        let refused = !self.is_redirected() && attempt.as_ref().is_some_and(|attempt| attempt.verdict == refusal);
        let settle = Settle {
            claim: message.claim.clone(),
            at,
            tried: attempt.is_some(),
            code: attempt.as_ref().and_then(|attempt| attempt.code),
            reply: attempt.map_or_else(|| state::why_untried(&outcome).to_owned(), |attempt| attempt.reply),
            outcome,
            address,
            refused_until: refused.then(|| at.plus(state::REFUSED_FOR)),
        };
        loop {
            match self.parts.store.settle(settle.clone()).await {
                Ok(true) => return self.count(message, &settle),
                Ok(false) => {
                    tracing::warn!(key = %message.key, "the claim was no longer ours; nothing was written");
                    return;
                }
                Err(error) => self.store_failed("settle", &error).await,
            }
            if self.parts.shutdown.hard().is_cancelled() {
                tracing::error!(key = %message.key, "the outcome could not be recorded before the stop");
                self.parts.unrecorded.store(true, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Counts a final state, per notification; wakes the lane where an escalation is due at once.
    fn count(&self, message: &Loaded, settle: &Settle) {
        let channel = &message.claim.channel; // not ours, if that one is gone
        let (verdict, reason) = match &settle.outcome {
            Settled::Sent { .. } => ("sent", ""),
            Settled::Never { state: FinalState::Failed, reason, .. } => ("failed", *reason),
            Settled::Never { state: FinalState::Expired, reason, .. } => ("expired", *reason),
            Settled::Later { .. } | Settled::Hold { .. } | Settled::Ambiguous { .. } => return,
        };
        for (rule, notifications) in &message.counts {
            metrics::notifications(rule.clone(), channel.clone(), verdict, reason).increment(*notifications);
        }
        if verdict == "sent" {
            for record in &message.records {
                metrics::end_to_end(channel.clone()).record(settle.at.since(record.at).as_secs_f64());
            }
        } else {
            tracing::warn!(key = %message.key, %channel, rule = %message.rule, verdict, reason, "given up");
            self.wake.notify_one();
        }
    }
}

/// Reads a stored record again. `None`: its body is past the content retention.
fn read(dialects: &Dialects, stored: &LoadedRecord) -> Option<Record> {
    let body = std::str::from_utf8(stored.body.as_deref()?).ok()?;
    Some(dialects.read(body, stored.position.clone(), stored.broker_time))
}
