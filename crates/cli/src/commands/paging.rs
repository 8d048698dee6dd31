//! Lists that the broker gives page by page, gathered into one.

use crate::error::CliError;

/// How many entries a page has at most.
const PAGE: u32 = 1_000;

/// Asks page by page until there are `most` entries or no more: a page may hold fewer than it
/// could if they are large. `ask` is told how many to ask for and where the page before ended, at
/// first what `from` says. Returns the entries, and where the next page would begin if there is
/// one.
///
/// # Errors
/// As of `ask`, which is not asked again.
pub(super) async fn gather<T, K>(
    most: usize,
    mut from: Option<K>,
    mut ask: impl AsyncFnMut(u32, Option<K>) -> Result<(Vec<T>, Option<K>), CliError>,
) -> Result<(Vec<T>, Option<K>), CliError> {
    let mut all = Vec::new();
    loop {
        let wanted = u32::try_from(most - all.len()).unwrap_or(PAGE);
        let (page, next) = ask(wanted.min(PAGE), from).await?;
        all.extend(page);
        if next.is_none() || all.len() >= most {
            return Ok((all, next));
        }
        from = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gathers from 2,500 numbers, of which a page holds what is asked for; also how much each
    /// page was asked for.
    async fn gathered(most: usize, from: Option<u32>) -> (Vec<u32>, Option<u32>, Vec<u32>) {
        let mut asked = Vec::new();
        let page = async |limit: u32, after: Option<u32>| {
            asked.push(limit);
            let first = after.map_or(0, |after| after + 1);
            let page: Vec<u32> = (first..2_500).take(limit as usize).collect();
            let next = page.last().copied().filter(|last| *last < 2_499);
            Ok((page, next))
        };
        let (all, next) = gather(most, from, page).await.unwrap();
        (all, next, asked)
    }

    #[tokio::test]
    async fn pages_are_asked_for_until_there_is_enough_or_no_more() {
        let (all, next, asked) = gathered(2_200, None).await;
        assert_eq!((all, next), ((0..2_200).collect(), Some(2_199)));
        assert_eq!(asked, [1_000, 1_000, 200]);
        let (all, next, asked) = gathered(9_000, Some(1_999)).await;
        assert_eq!((all, next), ((2_000..2_500).collect(), None));
        assert_eq!(asked, [1_000]);
    }
}
