//! The commented configuration that `countersign dev` writes where there is none.

/// `countersign.toml` as a newcomer gets it: it names every key, what it means, and its default.
pub const TEMPLATE: &str = include_str!("dev_template.toml");

#[cfg(test)]
mod tests {
    use super::TEMPLATE;
    use crate::config::fault::Findings;
    use crate::config::file::{File, StoreSpool};
    use crate::config::key::KeyPath;
    use crate::config::shape;
    use crate::config::tree::Node;

    fn read(text: &str) -> (File, Vec<String>) {
        let (tree, broken) = Node::parse(text);
        assert!(
            broken.is_empty(),
            "{:?}",
            broken.first().map(|broken| &broken.what)
        );
        let mut findings = Findings::new("countersign.toml".into(), tree.clone());
        let file = shape::read(&tree, &KeyPath::default(), &mut findings);
        let faults = findings.into_faults();
        (file, faults.iter().map(ToString::to_string).collect())
    }

    /// The template with every line that is a key, or an example of one, made one.
    fn opened() -> String {
        let lines = TEMPLATE.lines().map(|line| {
            let key = line.strip_prefix("#-").or(line.strip_prefix('#'));
            key.filter(|key| !key.is_empty() && !key.starts_with(' '))
                .unwrap_or(line)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_template_is_accepted_as_it_is_and_with_every_key_opened() {
        assert_eq!(read(TEMPLATE).1, [""; 0]);
        assert_eq!(read(&opened()).1, [""; 0]);
    }

    #[test]
    fn the_documented_defaults_are_the_ones_that_count() {
        let (mut written, _) = read(&opened());
        let defaults = File::default();
        assert_eq!(
            written.admin.token.take().as_deref(),
            Some("file:certs/admin.token")
        );
        assert_eq!(written.server, defaults.server);
        assert_eq!(written.admin, defaults.admin);
        assert_eq!(written.tls, defaults.tls);
        assert_eq!(
            written.store.password.take().as_deref(),
            Some("file:certs/store.password")
        );
        assert_eq!(written.store.spool.take(), Some(StoreSpool::default()));
        assert_eq!(written.store, defaults.store);
    }

    #[test]
    fn every_key_is_in_the_template() {
        let stray = "[server]\nx = 1\n[server.limits]\nx = 1\n[admin]\nx = 1\n[tls]\nx = 1\n[store]\nx = 1\n[store.limits]\nx = 1\n[store.postgres]\nx = 1\n[store.spool]\nx = 1\n[store.retention]\nx = 1\n[[tenants]]\nx = 1\n[tenants.retention]\nx = 1\n[[tenants.producers]]\nx = 1\n";
        let faults = read(stray).1;
        assert_eq!(faults.len(), 12, "{faults:?}");
        for fault in faults {
            let keys = fault.split("the keys here are ").nth(1).unwrap();
            for key in keys.split(", ") {
                let named = opened().lines().any(|line| {
                    line.starts_with(&format!("{key} =")) || line.contains(&format!("{key}]"))
                });
                assert!(named, "{key} is not in the template: {fault}");
            }
        }
    }
}
