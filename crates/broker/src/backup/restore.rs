//! Making a data directory of a backup.

use super::manifest::{Entry, Manifest};
use super::{BackedUp, BackupError, FORMAT, copy, sum, sync_folder};
use std::fs;
use std::path::Path;
use trunkline_log::check_format;

/// Makes a data directory of a backup. `progress` is told each file and its length.
///
/// Everything is checked before anything is written. The file that makes it a data directory comes
/// last, so that one that is restored half is refused by a broker.
///
/// # Errors
/// [`BackupError`]; of [`BackupError::Io`] what was restored so far is left there.
pub fn restore(
    backup: &Path,
    data: &Path,
    mut progress: impl FnMut(&str, u64),
) -> Result<BackedUp, BackupError> {
    let Some(manifest) = Manifest::read(backup)? else {
        let reason = "there is no MANIFEST in it".to_owned();
        return Err(BackupError::NoBackup { path: backup.to_owned(), reason });
    };
    if fs::exists(data).map_err(BackupError::io("look at", data))?
        && fs::read_dir(data).map_err(BackupError::io("list", data))?.next().is_some()
    {
        return Err(BackupError::NotEmpty { path: data.to_owned() });
    }
    for entry in &manifest.entries {
        let path = backup.join(entry.file());
        check(&path, entry, sum(&path).map_err(BackupError::io("read", &path))?)?;
        if entry.name == FORMAT {
            let scratch = tempfile::tempdir().map_err(BackupError::io("make", data))?;
            copy(&path, &scratch.path().join(FORMAT))?;
            check_format(scratch.path())?;
        }
    }
    make_folder(data)?;
    let (format, rest): (Vec<_>, Vec<_>) =
        manifest.entries.iter().partition(|entry| entry.name == FORMAT);
    let mut done = BackedUp::default();
    for entry in rest.into_iter().chain(format) {
        progress(&entry.name, entry.bytes);
        let path = data.join(&entry.name);
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        let from = backup.join(entry.file());
        check(&from, entry, copy(&from, &path)?)?;
        done.files += 1;
        done.bytes += entry.bytes;
    }
    sync_folder(data)?;
    (done.written_files, done.written_bytes) = (done.files, done.bytes);
    Ok(done)
}

/// Makes a folder and those that it is in, as far as they are not there, and returns once they
/// survive a crash. Returns what was flushed for that: whatever got a new folder.
fn make_folder(path: &Path) -> Result<Vec<&Path>, BackupError> {
    let mut new = Vec::new();
    for folder in path.ancestors().take_while(|folder| !folder.as_os_str().is_empty()) {
        if fs::exists(folder).map_err(BackupError::io("look at", folder))? {
            break;
        }
        new.push(folder);
    }
    fs::create_dir_all(path).map_err(BackupError::io("make", path))?;
    // A relative path that has no other parent is in the current directory.
    let parents = new.into_iter().map(|folder| match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    });
    parents.map(|parent| sync_folder(parent).map(|()| parent)).collect()
}

/// Whether the content of a file is as it was backed up.
fn check(path: &Path, entry: &Entry, (bytes, checksum): (u64, u64)) -> Result<(), BackupError> {
    let reason = if bytes != entry.bytes {
        format!("it has {bytes} bytes, {} were backed up", entry.bytes)
    } else if checksum != entry.checksum {
        "its checksum does not match".to_owned()
    } else {
        return Ok(());
    };
    Err(BackupError::Damaged { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::make_folder;
    use std::path::Path;

    #[test]
    fn whatever_gets_a_new_folder_is_flushed() {
        let home = tempfile::tempdir().unwrap();
        let (a, b) = (home.path().join("a"), home.path().join("a/b"));
        let made = make_folder(&b).unwrap();
        assert_eq!(made, [a.as_path(), home.path()]);
        assert!(b.is_dir());
        assert_eq!(make_folder(&b).unwrap(), [] as [&Path; 0]);
    }
}
