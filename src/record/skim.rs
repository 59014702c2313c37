//! Owns skimming: a reader of JSON that gives the few values somebody wants and passes over the rest, several times faster
//! than a parser that looks at every byte for itself. What it passes over is checked as strictly as `serde_json` does.
//!
//! It is a `serde` deserializer, so that what is wanted is said once, for this reader and for the exact one. Whatever it
//! does not care to read is [`Unusual`]: no verdict, but the word to read the whole again in the exact way. Hence its one
//! promise: what it reads, `serde_json` reads to the same values.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use wide::u8x16;

/// Deeper is unusual. The path through what is passed over is one bit per level.
const MAX_DEPTH: u32 = 120;
const BLOCK: usize = 64;

/// Not JSON, or JSON of a kind that is left to the exact reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unusual;

type Result<T> = std::result::Result<T, Unusual>;

/// The one value that `text` is, if this reader cares to read it.
pub(super) fn whole<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    whole_seed(text, PhantomData)
}

/// As [`whole`], for who has to know something to read it.
pub(super) fn whole_seed<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: S) -> Option<S::Value> {
    let mut skim = Skim::new(text);
    let value = seed.deserialize(&mut skim).ok()?;
    skim.peek();
    skim.is_at_end().then_some(value)
}

/// A place in a text.
#[derive(Clone)]
pub(super) struct Skim<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Which block of the text `stops` is of.
    block: usize,
    /// One bit per byte of the block that ends a plain stretch of a string.
    stops: u64,
}

impl<'a> Skim<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, block: usize::MAX, stops: 0 }
    }

    /// The next byte that is no white space; 0 at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        while matches!(self.byte(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
        self.byte()
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Offset in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }

    /// The next token is `byte`.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() != byte {
            return Err(Unusual);
        }
        self.at += 1;
        Ok(())
    }

    /// A key and its colon; one with an escape is unusual.
    #[inline]
    pub(super) fn key(&mut self) -> Result<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        if !self.pass_string()? {
            return Err(Unusual);
        }
        let key = self.text.get(start..self.at - 1).ok_or(Unusual)?;
        self.expect(b':')?;
        Ok(key)
    }

    /// Passes over one value.
    #[inline]
    pub(super) fn pass(&mut self) -> Result<()> {
        match self.peek() {
            b'"' => {
                self.at += 1;
                self.pass_string().map(drop)
            }
            b'{' | b'[' => self.pass_nested(),
            _ => self.pass_scalar(),
        }
    }

    /// An object or a list, without recursion.
    fn pass_nested(&mut self) -> Result<()> {
        // One bit per open level, the innermost lowest: set for an object.
        let (mut open, mut depth) = (0_u128, self.depth);
        loop {
            let byte = self.peek();
            match byte {
                b'"' => {
                    self.at += 1;
                    self.pass_string()?;
                }
                b'{' | b'[' => {
                    self.at += 1;
                    let is_object = byte == b'{';
                    // The closing one is two above, of either kind.
                    if self.peek() == byte + 2 {
                        self.at += 1;
                    } else {
                        depth += 1;
                        if depth > MAX_DEPTH {
                            return Err(Unusual);
                        }
                        open = open << 1 | u128::from(is_object);
                        if is_object {
                            self.pass_key()?;
                        }
                        continue;
                    }
                }
                _ => self.pass_scalar()?,
            }
            // A value is over: the next one of its level, or the end of that level, which is itself the end of a value.
            loop {
                if depth == self.depth {
                    return Ok(());
                }
                let is_object = open & 1 == 1;
                match self.peek() {
                    b',' => {
                        self.at += 1;
                        if is_object {
                            self.pass_key()?;
                        }
                        break;
                    }
                    b'}' if is_object => {}
                    b']' if !is_object => {}
                    _ => return Err(Unusual),
                }
                self.at += 1;
                depth -= 1;
                open >>= 1;
            }
        }
    }

    #[inline]
    fn pass_key(&mut self) -> Result<()> {
        self.expect(b'"')?;
        self.pass_string()?;
        self.expect(b':')
    }

    /// From behind the opening quote to behind the closing one. Whether there was no escape.
    #[inline]
    fn pass_string(&mut self) -> Result<bool> {
        let mut is_plain = true;
        loop {
            self.find_stop();
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    return Ok(is_plain);
                }
                b'\\' => {
                    is_plain = false;
                    self.pass_escape()?;
                }
                _ => return Err(Unusual),
            }
        }
    }

    /// On to the next `"`, `\` or control character, or the end.
    #[inline]
    fn find_stop(&mut self) {
        let mut block = self.at / BLOCK;
        if block != self.block {
            self.load(block);
        }
        let here = self.stops >> (self.at % BLOCK);
        if here != 0 {
            self.at += here.trailing_zeros() as usize;
            return;
        }
        loop {
            block += 1;
            self.load(block);
            if self.stops != 0 {
                self.at = block * BLOCK + self.stops.trailing_zeros() as usize;
                return;
            }
        }
    }

    #[inline]
    fn load(&mut self, block: usize) {
        let rest = self.text.as_bytes().get(block * BLOCK..).unwrap_or_default();
        self.block = block;
        self.stops = match rest.first_chunk() {
            Some(bytes) => stops(bytes),
            None => last_stops(rest),
        };
    }

    #[inline]
    fn pass_escape(&mut self) -> Result<()> {
        let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        self.at += match rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', hex @ ..] if hex.len() >= 4 && hex[..4].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return Err(Unusual),
        };
        Ok(())
    }

    #[inline]
    fn pass_scalar(&mut self) -> Result<()> {
        match self.byte() {
            b'n' => self.pass_word("null"),
            b't' => self.pass_word("true"),
            b'f' => self.pass_word("false"),
            _ => self.pass_number(),
        }
    }

    fn pass_word(&mut self, word: &str) -> Result<()> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(Unusual);
        }
        self.at += word.len();
        Ok(())
    }

    fn pass_number(&mut self) -> Result<()> {
        self.at += usize::from(self.byte() == b'-');
        if self.byte() == b'0' {
            self.at += 1;
        } else {
            self.pass_digits()?;
        }
        if self.byte() == b'.' {
            self.at += 1;
            self.pass_digits()?;
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), b'+' | b'-'));
            self.pass_digits()?;
        }
        Ok(())
    }

    fn pass_digits(&mut self) -> Result<()> {
        let start = self.at;
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Unusual) }
    }

    /// What `pass` passes over next, as it is written.
    fn passed(&mut self, pass: impl FnOnce(&mut Self) -> Result<()>) -> Result<&'a str> {
        let start = self.at;
        pass(self)?;
        self.text.get(start..self.at).ok_or(Unusual)
    }

    /// Reads inside one more level.
    fn inside<T>(&mut self, read: impl FnOnce(Inside<'_, 'a>) -> Result<T>) -> Result<T> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Unusual);
        }
        let value = read(Inside { skim: self, is_first: true })?;
        self.depth -= 1;
        Ok(value)
    }
}

/// Integers stay what they are; `-0` is none.
fn visit_number<'a, V: Visitor<'a>>(text: &str, visitor: V) -> Result<V::Value> {
    if let Ok(number) = text.parse() {
        return visitor.visit_u64(number);
    }
    match text.parse() {
        Ok(number) if number != 0 => visitor.visit_i64(number),
        // Its last digit depends on who reads it.
        _ => visitor.visit_f64(serde_json::from_str(text).map_err(|_| Unusual)?),
    }
}

#[inline]
fn stops(block: &[u8; BLOCK]) -> u64 {
    let (quote, backslash, control) = (u8x16::splat(b'"'), u8x16::splat(b'\\'), u8x16::splat(0x1F));
    let mut stops = 0;
    for (n, bytes) in block.as_chunks().0.iter().enumerate() {
        let bytes = u8x16::new(*bytes);
        let hits = bytes.simd_eq(quote) | bytes.simd_eq(backslash) | bytes.min(control).simd_eq(bytes);
        stops |= u64::from(hits.to_bitmask()) << (16 * n);
    }
    stops
}

/// Of the last bytes. Behind the end stand control characters, so that every search ends.
#[cold]
fn last_stops(rest: &[u8]) -> u64 {
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    stops(&block)
}

impl<'a> Deserializer<'a> for &mut Skim<'a> {
    type Error = Unusual;

    #[inline]
    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        match self.peek() {
            b'"' => {
                let mut is_plain = true;
                let quoted = self.passed(|skim| {
                    skim.at += 1;
                    is_plain = skim.pass_string()?;
                    Ok(())
                })?;
                if is_plain {
                    return visitor.visit_borrowed_str(&quoted[1..quoted.len() - 1]);
                }
                // Half a surrogate pair is no text.
                visitor.visit_string(serde_json::from_str(quoted).map_err(|_| Unusual)?)
            }
            b'{' => self.inside(|inside| visitor.visit_map(inside)),
            b'[' => self.inside(|inside| visitor.visit_seq(inside)),
            b'n' => {
                self.pass_word("null")?;
                visitor.visit_unit()
            }
            b't' | b'f' => visitor.visit_bool(self.passed(Skim::pass_scalar)? == "true"),
            _ => visit_number(self.passed(Skim::pass_number)?, visitor),
        }
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        self.pass()?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// The inside of an object or a list.
struct Inside<'s, 'a> {
    skim: &'s mut Skim<'a>,
    is_first: bool,
}

impl Inside<'_, '_> {
    /// Up to the next key or element, or past the `end`: whether there is one.
    #[inline]
    fn is_more(&mut self, end: u8) -> Result<bool> {
        let byte = self.skim.peek();
        let is_first = std::mem::take(&mut self.is_first);
        if byte == end {
            self.skim.at += 1;
            return Ok(false);
        }
        if !is_first {
            self.skim.expect(b',')?;
            // What a value cannot begin with is found by whoever reads it; the end is no value.
            if self.skim.peek() == end {
                return Err(Unusual);
            }
        }
        Ok(true)
    }
}

impl<'a> MapAccess<'a> for Inside<'_, 'a> {
    type Error = Unusual;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if !self.is_more(b'}')? {
            return Ok(None);
        }
        seed.deserialize(BorrowedStrDeserializer::new(self.skim.key()?)).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.skim)
    }
}

impl<'a> SeqAccess<'a> for Inside<'_, 'a> {
    type Error = Unusual;

    #[inline]
    fn next_element_seed<E: DeserializeSeed<'a>>(&mut self, seed: E) -> Result<Option<E::Value>> {
        if self.is_more(b']')? { seed.deserialize(&mut *self.skim).map(Some) } else { Ok(None) }
    }
}

impl fmt::Display for Unusual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unusual JSON")
    }
}

impl std::error::Error for Unusual {}

impl de::Error for Unusual {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}
