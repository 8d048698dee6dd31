//! The files that the demo works on, and what is counted in them.

use crate::error::CliError;
use crate::exit::Exit;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that hold what was made rather than written.
const SKIPPED: [&str; 2] = ["target", "node_modules"];
/// Most bytes of all files together.
const ALL_BYTES: u64 = 16 << 20;
/// Largest file: what fits in an envelope.
const FILE_BYTES: u64 = 1 << 20;
/// Most folders that are looked into, so that a demo in a home folder begins soon.
const FOLDERS: usize = 5_000;

/// Texts to work on, and what was left out.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The texts, in the order of their paths.
    pub(super) texts: Vec<TextFile>,
    /// Files left out because they are no UTF-8 text.
    pub(super) binary: u64,
    /// Files left out because they do not fit in an envelope.
    pub(super) too_large: u64,
    /// Files left out because they cannot be read.
    pub(super) unreadable: u64,
    /// Whether there may be more than was asked for.
    pub(super) more: bool,
}

/// One text.
#[derive(Debug)]
pub(super) struct TextFile {
    /// Its path below the input folder.
    pub(super) path: String,
    /// What is in it.
    pub(super) text: String,
}

impl Files {
    /// Reads the text files below a folder, at most so many.
    ///
    /// # Errors
    /// The folder cannot be read, or there is no text in it.
    pub(super) fn read(folder: &Path, most: usize) -> Result<Self, CliError> {
        let mut files = Self::default();
        let mut bytes = 0;
        let mut folders = vec![folder.to_owned()];
        let mut seen = 0;
        while let Some(next) = folders.pop() {
            seen += 1;
            if seen > FOLDERS {
                files.more = true;
                break;
            }
            let Entries { files: found, folders: inner } = match entries(&next) {
                Ok(entries) => entries,
                Err(error) if seen == 1 => {
                    let what = format_args!("cannot read '{}': {error}", folder.display());
                    return Err(CliError::new(Exit::Usage, what));
                }
                Err(_) => {
                    files.unreadable += 1;
                    continue;
                }
            };
            folders.extend(inner.into_iter().rev());
            for (path, size) in found {
                if size > FILE_BYTES {
                    files.too_large += 1;
                } else if files.texts.len() >= most || bytes + size > ALL_BYTES {
                    files.more = true;
                } else {
                    bytes += files.take(folder, &path);
                }
            }
            if files.texts.len() >= most {
                files.more |= !folders.is_empty();
                break;
            }
        }
        if files.texts.is_empty() {
            let what = format!("there is no text file in '{}'", folder.display());
            let hint = "name a folder that has some with --input DIR";
            return Err(CliError::new(Exit::Usage, what).hint(hint));
        }
        Ok(files)
    }

    /// Takes a file in if it is a text; returns its size.
    fn take(&mut self, folder: &Path, path: &Path) -> u64 {
        let Ok(bytes) = std::fs::read(path) else {
            self.unreadable += 1;
            return 0;
        };
        // It may have grown since it was listed.
        if bytes.len() as u64 > FILE_BYTES {
            self.too_large += 1;
            return 0;
        }
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => {
                let size = text.len() as u64;
                let path = path.strip_prefix(folder).unwrap_or(path).display().to_string();
                self.texts.push(TextFile { path, text });
                size
            }
            _ => {
                self.binary += 1;
                0
            }
        }
    }
}

/// What is in a folder, each in order of their names.
#[derive(Default)]
struct Entries {
    /// With their sizes.
    files: Vec<(PathBuf, u64)>,
    folders: Vec<PathBuf>,
}

/// Lists a folder. Links are not followed, because they may lead in circles.
fn entries(folder: &Path) -> io::Result<Entries> {
    let Entries { mut files, mut folders } = Entries::default();
    for entry in std::fs::read_dir(folder)? {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Ok(kind) = entry.file_type() else { continue };
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            if !SKIPPED.contains(&&*name) {
                folders.push(entry.path());
            }
        } else if kind.is_file()
            && let Ok(metadata) = entry.metadata()
        {
            files.push((entry.path(), metadata.len()));
        }
    }
    files.sort();
    folders.sort();
    Ok(Entries { files, folders })
}

/// How many words a text has.
pub(super) fn count_words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// How many lines of a text leave something to be done.
pub(super) fn count_todos(text: &str) -> u64 {
    text.lines().filter(|line| line.contains("TODO")).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, path: &str, content: &[u8]) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    #[test]
    fn texts_are_found_and_the_rest_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "b.txt", b"one two");
        write(folder, "a/deep/c.txt", b"three");
        write(folder, "zero", b"no\0text");
        write(folder, "latin", &[b'a', 0xE4]);
        write(folder, "large", &vec![b'x'; 1 + (1 << 20)]);
        for hidden in [".git/x", "target/x", "a/node_modules/x", ".hidden"] {
            write(folder, hidden, b"unseen");
        }
        let files = Files::read(folder, 10).unwrap();
        let paths: Vec<_> = files.texts.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["b.txt", "a/deep/c.txt"]);
        assert_eq!((files.binary, files.too_large, files.more), (2, 1, false));
        let fewer = Files::read(folder, 1).unwrap();
        assert_eq!((fewer.texts.len(), fewer.more), (1, true));
    }

    #[test]
    fn a_folder_without_text_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Files::read(folder.path(), 10).unwrap_err();
        assert!(error.message.contains("no text file in"), "{error}");
        let error = Files::read(&folder.path().join("missing"), 10).unwrap_err();
        assert!(
            error.message.contains("cannot read") && error.message.contains("missing"),
            "{error}"
        );
    }

    #[test]
    fn words_and_open_ends_are_counted() {
        assert_eq!(count_words(" one\ttwo\nthree  "), 3);
        assert_eq!(count_todos("a\n// TODO: b\nTODO TODO\n"), 2);
    }
}
