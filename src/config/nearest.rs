//! The word that was probably meant by one that is not known.

/// The nearest of `known` to `word`, if one is near enough to have been meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let reach = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits from one word to the other, in either case: a letter more, less, another, or two swapped.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    let mut last = None;
    for (i, a) in one.to_lowercase().chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().copied().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut cost = (at(&row, j) + usize::from(a != b))
                .min(at(&row, j + 1) + 1)
                .min(at(&next, j) + 1);
            let swapped = j > 0 && last == Some(b) && other.get(j - 1).copied() == Some(a);
            if swapped {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            next.push(cost);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(a);
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        let keys = ["listen", "paths", "limits", "certificate"];
        assert_eq!(nearest("litsen", keys), Some("listen"));
        assert_eq!(nearest("path", keys), Some("paths"));
        assert_eq!(nearest("Listen", keys), Some("listen"));
        assert_eq!(nearest("certificat_e", keys), Some("certificate"));
        assert_eq!(nearest("port", keys), None);
        assert_eq!(nearest("", keys), None);
    }
}
