//! Where a value stands in the configuration: `tenants[0].producers[1].subject`.

use std::fmt;

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// The path of a key from the root of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<Step>);

impl KeyPath {
    /// A path of keys alone, as `tls.client_ca`.
    pub(super) fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).into())).collect())
    }

    /// One key further down.
    pub(super) fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.into()))
    }

    /// One element further down.
    pub(super) fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    /// One step further down.
    pub(super) fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Further down by `dotted`, which is written as `Display` does: `signature.from`.
    pub(super) fn dotted(&self, dotted: &str) -> Self {
        let mut path = self.clone();
        let mut rest = dotted;
        while !rest.is_empty() {
            let (key, after) = first_key(rest);
            if !key.is_empty() {
                path.0.push(Step::Key(key.into()));
            }
            let (indices, next) = after.split_once('.').unwrap_or((after, ""));
            rest = next;
            let indices = indices.split('[').map(|index| index.trim_end_matches(']'));
            path.0.extend(
                indices
                    .filter_map(|index| index.parse().ok())
                    .map(Step::Index),
            );
        }
        path
    }

    /// The steps from the root.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is `other`, or below it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

/// The key that `dotted` begins with, and what follows it. One in quotes may hold dots, and ends with the quote before one.
fn first_key(dotted: &str) -> (&str, &str) {
    if let Some(quoted) = dotted.strip_prefix('"') {
        let mut quotes = quoted.match_indices('"').map(|(at, _)| at);
        let ends = |at: &usize| matches!(quoted.as_bytes().get(at + 1), None | Some(b'.' | b'['));
        let end = quotes.find(ends).unwrap_or(quoted.len());
        let after = quoted.get(end + 1..).unwrap_or_default();
        return (quoted.get(..end).unwrap_or_default(), after);
    }
    let end = dotted.find(['.', '[']).unwrap_or(dotted.len());
    dotted.split_at(end)
}

impl FromIterator<Step> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    if !key.is_empty() && key.chars().all(bare) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_it_is_spoken_of() {
        let path = KeyPath::of(&["tenants"])
            .index(0)
            .key("producers")
            .index(12);
        assert_eq!(
            path.key("subject").to_string(),
            "tenants[0].producers[12].subject"
        );
        assert_eq!(KeyPath::of(&["a b", ""]).to_string(), "\"a b\".\"\"");
        let read = KeyPath::of(&["profiles", "acme"]).dotted("event.when[1].type");
        assert_eq!(read.to_string(), "profiles.acme.event.when[1].type");
        assert!(read.is_within(&KeyPath::of(&["profiles", "acme"])));
        assert!(!path.is_within(&path.key("subject")));
        for dotted in [
            "event.when[0].equals.\"/additionalData/modification.action\"",
            "event.status.\"a:b [1].c\"",
            "samples.\"orders/paid *\"",
            "a[0][1].b",
        ] {
            assert_eq!(KeyPath::default().dotted(dotted).to_string(), dotted);
        }
    }
}
