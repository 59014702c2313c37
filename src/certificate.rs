//! Owns until when the certificates of a file are good: a walk to `notAfter` (RFC 5280 4.1) through as much DER (X.690) as that
//! takes. Whether a certificate is to be trusted is for TLS to say.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::clock::Timestamp;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

const SEQUENCE: u8 = 0x30;
/// `[0]`: the version, where there is one.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// A file with certificates that the configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate<'a> {
    /// `cert_file`: who we are, and what leads to a root.
    Own(&'a Path),
    /// `ca_file`: whom we trust.
    Authority(&'a Path),
}

impl<'a> Certificate<'a> {
    /// Those that there are.
    #[must_use]
    pub fn of(authority: Option<&'a Path>, own: Option<&'a Path>) -> Vec<Self> {
        authority.map(Self::Authority).into_iter().chain(own.map(Self::Own)).collect()
    }

    /// The key that names it.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Own(_) => "cert_file",
            Self::Authority(_) => "ca_file",
        }
    }

    /// Until when it is good: a chain until the first of it ends; of several authorities any one may do, so until the last.
    /// The error holds nothing of the file.
    pub fn end(&self) -> Result<Timestamp, String> {
        let end = match self {
            Self::Own(path) => ends(path)?.into_iter().min(),
            Self::Authority(path) => ends(path)?.into_iter().max(),
        };
        end.ok_or_else(|| "holds no certificates in PEM".to_owned())
    }
}

/// When each certificate of a PEM file ends, in its order; none where one of them is no certificate.
fn ends(path: &Path) -> Result<Vec<Timestamp>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let found: Option<Vec<Timestamp>> = text.split(BEGIN).skip(1).map(end).collect();
    Ok(found.unwrap_or_default())
}

fn end(after_begin: &str) -> Option<Timestamp> {
    let (body, _) = after_begin.split_once(END)?;
    let encoded: String = body.split_ascii_whitespace().collect();
    not_after(&STANDARD.decode(encoded).ok()?)
}

/// Certificate { tbsCertificate { version?, serialNumber, signature, issuer, validity { notBefore, notAfter }, … }, … }
fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = expect(SEQUENCE, der)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    for _serial_signature_issuer in 0..3 {
        rest = element(rest)?.2;
    }
    let (validity, _) = expect(SEQUENCE, rest)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    moment(tag, std::str::from_utf8(time).ok()?)
}

/// `YYMMDDHHMMSSZ` of the years 1950 to 2049, or `YYYYMMDDHHMMSSZ` (RFC 5280 4.1.2.5).
fn moment(tag: u8, text: &str) -> Option<Timestamp> {
    let text = match tag {
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| text.get(from..to);
    let (date, time) = ((part(0, 4)?, part(4, 6)?, part(6, 8)?), (part(8, 10)?, part(10, 12)?, part(12, 14)?));
    let written = format!("{}-{}-{}T{}:{}:{}Z", date.0, date.1, date.2, time.0, time.1, time.2);
    let parsed: jiff::Timestamp = written.parse().ok()?;
    Some(Timestamp::from_millis(parsed.as_millisecond()))
}

/// The content of the first element, which has this tag, and what follows it.
fn expect(wanted: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(der)?;
    (tag == wanted).then_some((content, rest))
}

/// Tag and content of the first element, and what follows it. Lengths of up to four bytes.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(year: i32) -> rcgen::Certificate {
        let mut params = rcgen::CertificateParams::new(vec!["mail.example.com".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 2, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn a_chain_ends_with_its_first_and_authorities_with_their_last() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("chain.pem");
        std::fs::write(&file, format!("of whom\n{}{}", made(2031).pem(), made(2061).pem())).unwrap();
        let written = |certificate: Certificate<'_>| certificate.end().unwrap().to_string();
        assert_eq!(written(Certificate::Own(&file)), "2031-02-01T00:00:00.000Z");
        assert_eq!(written(Certificate::Authority(&file)), "2061-02-01T00:00:00.000Z");
    }

    #[test]
    fn what_is_no_certificate_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.pem");
        assert!(Certificate::Own(&file).end().unwrap_err().contains("No such file"));
        for text in
            ["", "secret", &format!("{BEGIN}\nsecret\n{END}"), &format!("{BEGIN}\nMAA="), &format!("{BEGIN}{END}")]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(Certificate::Own(&file).end().unwrap_err(), "holds no certificates in PEM", "{text}");
        }
    }

    #[test]
    fn a_certificate_that_is_cut_short_has_no_end() {
        let whole = made(2031).der().to_vec();
        let cut = whole.len() - 1;
        assert!(not_after(&whole).is_some());
        assert!((0..cut).all(|length| not_after(&whole[..length]).is_none()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = not_after(&bytes);
        }
    }
}
