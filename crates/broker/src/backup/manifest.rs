//! The list of what a backup holds: text, a line for each file, and a checksum of it all.

use super::{BackupError, write};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use trunkline_log::checksum;

/// The list's name in a backup.
pub(super) const MANIFEST: &str = "MANIFEST";
/// Its first line. The number is its version.
const FIRST: &str = "trunkline-backup 1";
/// Most bytes that it may have: some 700,000 files, 40 TiB of segments.
const MOST: u64 = 64 << 20;
/// What the file of a content begins with.
const CONTENT: &str = "content-";

/// The files of a data directory that a backup holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Manifest {
    pub(super) entries: Vec<Entry>,
}

/// One file of a data directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Its name there, with `/` between folders.
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) checksum: u64,
}

impl Entry {
    /// The name of the file in the backup that holds it: another content has another name, so that
    /// nothing that a manifest lists is ever written over.
    pub(super) fn file(&self) -> String {
        let Self { name, bytes, checksum } = self;
        format!("{CONTENT}{}-{bytes:x}-{checksum:016x}", name.replace('/', "-"))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, ' ');
        let checksum = u64::from_str_radix(parts.next()?, 16).ok()?;
        let bytes = parts.next()?.parse().ok()?;
        let name = parts.next()?;
        // A name must not lead out of the directory that is restored to, nor be read back as another:
        // the end of a line may be more than one character.
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.');
        let safe = name.split('/').all(plain) && !name.contains('\\');
        let safe = safe && !name.contains(char::is_control);
        safe.then(|| Self { name: name.to_owned(), bytes, checksum })
    }
}

/// Whether a file of this name in a backup holds a content.
pub(super) fn is_content(name: &str) -> bool {
    name.starts_with(CONTENT)
}

impl Manifest {
    /// Reads the list of a backup; `None` if there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, BackupError> {
        let path = folder.join(MANIFEST);
        let mut bytes = Vec::new();
        match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes)),
        }
        .map_err(BackupError::io("read", &path))?;
        if bytes.len() as u64 > MOST {
            let reason = format!("it is longer than the {MOST} bytes that a manifest may have");
            return Err(BackupError::NoBackup { path, reason });
        }
        Self::parse(&bytes).map(Some).map_err(|reason| BackupError::NoBackup { path, reason })
    }

    /// Reads the list out of what its file holds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(bytes).map_err(|error| format!("it is no text: {error}"))?;
        if text.lines().next() != Some(FIRST) {
            return Err("its first line is not that of a manifest this version knows".to_owned());
        }
        let sum = text.rfind("end ").map(|at| text.split_at(at));
        let (body, end) = sum.ok_or("it has no end")?;
        if end.trim_end() != format!("end {:016x}", checksum(body.as_bytes())) {
            return Err("its checksum does not match".to_owned());
        }
        let entries = body.lines().skip(1).map(Entry::parse).collect::<Option<Vec<_>>>();
        let entries = entries.ok_or("a line cannot be read")?;
        let mut names = BTreeSet::new();
        match entries.iter().find(|entry| !names.insert(&entry.name)) {
            Some(twice) => Err(format!("it lists {} twice", twice.name)),
            None => Ok(Self { entries }),
        }
    }

    /// Replaces the list of a backup.
    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let (text, path) = (self.to_text(), folder.join(MANIFEST));
        let bytes = text.len() as u64;
        if bytes > MOST {
            return Err(BackupError::TooMany { path: folder.to_owned(), bytes, limit: MOST });
        }
        write(&path, text.as_bytes())
    }

    /// The list as its file holds it.
    pub(crate) fn to_text(&self) -> String {
        let line = |entry: &Entry| {
            let Entry { name, bytes, checksum } = entry;
            format!("{checksum:016x} {bytes} {name}\n")
        };
        let lines: Vec<String> = self.entries.iter().map(line).collect();
        let mut text = format!("{FIRST}\n{}", lines.concat());
        let end = format!("end {:016x}\n", checksum(text.as_bytes()));
        text += &end;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, checksum: u64) -> Entry {
        Entry { name: name.to_owned(), bytes: 7, checksum }
    }

    #[test]
    fn a_manifest_is_read_back_and_a_changed_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), None);
        let entries = vec![entry("FORMAT", 1), entry("index/keys.sqlite", u64::MAX)];
        let manifest = Manifest { entries };
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), Some(manifest));
        let path = folder.path().join(MANIFEST);
        let text = fs::read_to_string(&path).unwrap();
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(Manifest::read(folder.path()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_manifest_that_is_too_long_is_refused_and_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join(MANIFEST)).unwrap();
        // It has no content, only a length: more than any memory.
        file.set_len(1 << 40).unwrap();
        let refused = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("longer than the 67108864 bytes"), "{refused}");
    }

    #[test]
    fn a_file_that_is_listed_twice_is_told() {
        let entries = vec![entry("a", 1), entry("b", 2), entry("a", 3)];
        let text = Manifest { entries }.to_text();
        assert_eq!(Manifest::parse(text.as_bytes()), Err("it lists a twice".to_owned()));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../x", "a/../b", "/etc/passwd", "", "a//b", ".hidden", "a\\b", "a\r", "a\0"] {
            assert_eq!(Entry::parse(&format!("1 7 {name}")), None, "{name}");
        }
        assert_eq!(Entry::parse("1 7 a/b"), Some(entry("a/b", 1)));
    }
}
