//! Encryption with age (<https://age-encryption.org/v1>): to recipients whose identities need not be here, piece by piece.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use age::x25519::{Identity, Recipient};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::id::Id;
use super::manifest::hex;
use super::{BackupError, manifest};

/// To whom objects are encrypted.
#[derive(Clone)]
pub struct Recipients {
    of: Vec<Recipient>,
    tag: String,
}

impl Recipients {
    /// Reads them as age writes them: `age1…`.
    ///
    /// # Errors
    /// One is none, or there is none.
    pub fn parse(texts: &[String]) -> Result<Self, BackupError> {
        let parse = |text: &String| {
            let why = |e: &str| {
                let begin: String = text.chars().take(12).collect();
                BackupError::Key(format!("{begin}… is no recipient of age (age1…): {e}"))
            };
            Recipient::from_str(text).map_err(why)
        };
        let of = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<String> = of.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        let tag = hex(&Sha256::digest(names.join(" "))).get(..8).unwrap_or_default().to_owned();
        match of.is_empty() {
            true => Err(BackupError::Key("there is no recipient".to_owned())),
            false => Ok(Self { of, tag }),
        }
    }

    /// What tells these recipients from others.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// What `plain` gives, encrypted.
    pub(super) fn encrypt<'a>(
        &self,
        plain: Box<dyn Read + Send + 'a>,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        let to = self.of.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(to).map_err(io::Error::other)?;
        let out = Out::default();
        let writer = encryptor.wrap_output(out.clone())?;
        Ok(Box::new(Encrypting { plain, writer: Some(writer), out, at: 0 }))
    }
}

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Encrypting<'a> {
    plain: Box<dyn Read + Send + 'a>,
    writer: Option<age::stream::StreamWriter<Out>>,
    out: Out,
    /// What of `out` was read.
    at: usize,
}

impl Read for Encrypting<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            {
                let mut out = self.out.0.lock();
                let left = out.get(self.at..).unwrap_or_default();
                if !left.is_empty() {
                    let n = left.len().min(to.len());
                    if let (Some(to), Some(from)) = (to.get_mut(..n), left.get(..n)) {
                        to.copy_from_slice(from);
                    }
                    self.at += n;
                    return Ok(n);
                }
                out.clear();
                self.at = 0;
            }
            let Some(writer) = &mut self.writer else { return Ok(0) };
            let mut piece = [0; 64 << 10];
            let read = self.plain.read(&mut piece)?;
            match piece.get(..read).filter(|piece| !piece.is_empty()) {
                Some(piece) => writer.write_all(piece)?,
                None => {
                    if let Some(writer) = self.writer.take() {
                        writer.finish()?;
                    }
                }
            }
        }
    }
}

/// What opens objects again.
pub struct Identities {
    of: Vec<Identity>,
    file: PathBuf,
}

impl Identities {
    /// Reads a file as `age-keygen` writes it: a line for each, comments behind `#`.
    ///
    /// # Errors
    /// It cannot be read, or has none. What is in it is never said.
    pub fn read(file: &Path) -> Result<Self, BackupError> {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|e| BackupError::File(file.to_owned(), e))?;
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let of = lines.map(Identity::from_str).collect::<Result<Vec<_>, _>>().unwrap_or_default();
        if of.is_empty() {
            let file = file.display();
            let why =
                format!("{file} has no identity of age (lines that begin with AGE-SECRET-KEY-)");
            return Err(BackupError::Key(why));
        }
        Ok(Self { of, file: file.to_owned() })
    }

    /// What the object has in it.
    pub(super) fn decrypt(
        &self,
        id: &Id,
        object: Box<dyn Read + Send>,
    ) -> Result<Box<dyn Read + Send>, BackupError> {
        let damaged = |e: age::DecryptError| match e {
            age::DecryptError::NoMatchingKeys | age::DecryptError::KeyDecryptionFailed => {
                BackupError::WrongKey(id.clone(), self.file.clone())
            }
            e => BackupError::Damaged {
                id: id.clone(),
                what: format!("an object is no file of age: {e}"),
            },
        };
        let keys = self.of.iter().map(|identity| identity as &dyn age::Identity);
        let opened = age::Decryptor::new(object).map_err(damaged)?;
        Ok(Box::new(opened.decrypt(keys).map_err(damaged)?))
    }
}

/// The object as it is, or what is in it.
pub(super) fn opened(
    identities: Option<&Identities>,
    id: &Id,
    head: &manifest::Head,
    object: Box<dyn Read + Send>,
) -> Result<Box<dyn Read + Send>, BackupError> {
    match (&head.encrypted, identities) {
        (None, _) => Ok(object),
        (Some(_), Some(identities)) => identities.decrypt(id, object),
        (Some(_), None) => Err(BackupError::Encrypted(id.clone())),
    }
}
