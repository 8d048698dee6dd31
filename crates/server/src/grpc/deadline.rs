//! How long a caller will wait.

use std::future::Future;
use std::time::Duration;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// The key under which gRPC carries the time that is left.
const TIMEOUT: &str = "grpc-timeout";

/// The time left to a call, if its caller set a limit. One that cannot be read is no limit, as
/// the gRPC protocol leaves it to the caller to keep its own clock.
pub(crate) fn time_left(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_hours(number),
        "M" => Duration::from_mins(number),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Does something within the time left, if there is a limit.
pub(crate) async fn within<T>(
    time_left: Option<Duration>,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match time_left {
        None => work.await,
        Some(span) => {
            tokio::time::timeout(span, work).await.unwrap_or_else(|_elapsed| Err(too_late(span)))
        }
    }
}

/// The status that says that a caller's time is over.
pub(crate) fn too_late(span: Duration) -> Status {
    Status::deadline_exceeded(format!("no answer within the call's deadline of {span:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let mut metadata = MetadataMap::new();
        metadata.insert(TIMEOUT, text.parse().unwrap());
        time_left(&metadata)
    }

    #[test]
    fn every_unit_is_read_and_nonsense_is_no_limit() {
        assert_eq!(read("2H"), Some(Duration::from_hours(2)));
        assert_eq!(read("3M"), Some(Duration::from_mins(3)));
        assert_eq!(read("4S"), Some(Duration::from_secs(4)));
        assert_eq!(read("5m"), Some(Duration::from_millis(5)));
        assert_eq!(read("6u"), Some(Duration::from_micros(6)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for text in ["", "5", "m", "-5m", "+5m", "123456789m", "5x", "5 m"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(time_left(&MetadataMap::new()), None);
    }
}
