//! The look-up from a subject and a path to a producer.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use super::{Force, Identified, IdentityRefusal, Producer, ProducerId};
use crate::tls::PeerCertificates;
use crate::x509::{Certificate, DistinguishedName, NameKey, SpkiPin};

/// All producers, by the key of their subject. Immutable: a reload builds another.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    producers: Vec<Arc<Producer>>,
    by_subject: HashMap<NameKey, Vec<Arc<Producer>>>,
    cut_off: HashSet<ProducerId>,
    /// The paths at which a producer without one of its own delivers.
    common: HashSet<Arc<str>>,
    /// Whether there is any mark that only watches: most configurations have none, and are asked by every request.
    watches: bool,
}

/// Two producers between which a certificate could not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryFault {
    /// The earlier one.
    pub first: ProducerId,
    /// The one that repeats its subject and path.
    pub second: ProducerId,
}

impl Directory {
    /// Builds the look-up, or names every pair of producers that have one subject (in either order of its RDNs) and
    /// one path.
    pub fn build(producers: Vec<Producer>) -> Result<Self, Vec<DirectoryFault>> {
        let mut directory = Self::default();
        let mut faults = Vec::new();
        for producer in producers {
            directory.watches |=
                producer.force == Force::Shadow || !producer.shadow_pins.is_empty();
            let producer = Arc::new(producer);
            let same_subject = directory
                .by_subject
                .entry(producer.subject.key().clone())
                .or_default();
            let rival = same_subject
                .iter()
                .find(|other| other.path == producer.path && other.force == producer.force);
            if let Some(rival) = rival {
                faults.push(DirectoryFault {
                    first: rival.id,
                    second: producer.id,
                });
            }
            same_subject.push(Arc::clone(&producer));
            same_subject.sort_by_key(|one| one.force == Force::Shadow);
            directory.producers.push(producer);
        }
        if faults.is_empty() {
            Ok(directory)
        } else {
            Err(faults)
        }
    }

    /// The same directory, in which producers without a path of their own deliver to these paths, and to no others.
    #[must_use]
    pub fn with_common_paths(mut self, paths: &[Arc<str>]) -> Self {
        self.common = paths.iter().cloned().collect();
        self
    }

    /// The same directory, in which these producers and no others are cut off.
    pub fn with_cut_offs(&self, is_cut_off: impl Fn(&Producer) -> bool) -> Self {
        let cut_off = self.producers.iter().filter(|one| is_cut_off(one));
        Self {
            cut_off: cut_off.map(|producer| producer.id).collect(),
            ..self.clone()
        }
    }

    /// Whether any request with this leaf could pass gate 2: a live producer has its subject and its key, and is not cut off.
    pub fn may_deliver(&self, leaf: &Certificate) -> bool {
        self.claimed(leaf.subject()).any(|producer| {
            producer.force == Force::Live
                && !self.cut_off.contains(&producer.id)
                && producer.admits(leaf)
        })
    }

    /// The producers, in the order of the configuration.
    pub fn producers(&self) -> &[Arc<Producer>] {
        &self.producers
    }

    /// Opens gate 2: the live producer with this subject and this path, if the leaf's key is one that it may have.
    ///
    /// A producer with a path of its own comes before one that delivers to each of `server.paths`.
    pub fn identify(
        &self,
        peer: &PeerCertificates,
        path: &str,
    ) -> Result<Identified, IdentityRefusal> {
        let leaf = peer.leaf();
        let producer = self
            .find(leaf.subject(), path, Force::Live)
            .ok_or_else(|| IdentityRefusal::UnknownProducer {
                subject: leaf.subject().clone(),
            })?;
        if self.cut_off.contains(&producer.id) {
            return Err(IdentityRefusal::CutOff {
                producer: Arc::clone(producer),
            });
        }
        if !producer.admits(leaf) {
            return Err(IdentityRefusal::PinMismatch {
                producer: Arc::clone(producer),
                presented: leaf.spki(),
            });
        }
        Ok(Identified {
            producer: Arc::clone(producer),
            peer: peer.clone(),
        })
    }

    /// Where a producer's deliveries are taken: at its own path; without one at each of `common` that no other producer with its subject
    /// has for its own.
    pub fn paths_of<'a>(&'a self, producer: &'a Producer, common: &'a [Arc<str>]) -> Vec<&'a str> {
        if let Some(own) = &producer.path {
            return vec![own];
        }
        let finds = |path: &&str| {
            self.find(&producer.subject, path, producer.force)
                .is_some_and(|found| found.id == producer.id)
        };
        common.iter().map(|path| &**path).filter(finds).collect()
    }

    /// The producers, live ones first, whose subject this is: whom a refused certificate claims to be.
    pub fn claimed<'a>(
        &'a self,
        subject: &DistinguishedName,
    ) -> impl Iterator<Item = &'a Arc<Producer>> {
        self.by_subject.get(subject.key()).into_iter().flatten()
    }

    /// What the watching marks say of this leaf on this path, where gate 2 opened (`opened`) or stayed shut.
    ///
    /// A producer that only watches says so in full only once the body was read: see [`Directory::watching`].
    pub fn shadow_verdicts<'a>(
        &'a self,
        leaf: &Certificate,
        path: &str,
        opened: bool,
    ) -> Vec<ShadowVerdict<'a>> {
        if !self.watches {
            return Vec::new();
        }
        let agree = if opened { Would::Agree } else { Would::Accept };
        let mut verdicts = Vec::new();
        let mut say = |producer, mark, pin, would| {
            verdicts.push(ShadowVerdict {
                producer,
                mark,
                pin,
                would,
            });
        };
        if opened && let Some(producer) = self.find(leaf.subject(), path, Force::Shadow) {
            let would = if producer.admits(leaf) {
                Would::Agree
            } else {
                Would::Refuse
            };
            say(producer, ShadowMark::Producer, None, would);
        }
        let live = self.find(leaf.subject(), path, Force::Live);
        if let Some(producer) = live.filter(|producer| !self.cut_off.contains(&producer.id)) {
            let presented = leaf.spki();
            if producer.shadow_pins.contains(&presented) {
                say(producer, ShadowMark::Pin, Some(presented), agree);
            } else if opened {
                for pin in &producer.shadow_pins {
                    say(producer, ShadowMark::Pin, Some(*pin), Would::Refuse);
                }
            }
        }
        verdicts
    }

    /// The producer that only watches and would have taken this request, whose leaf no live one takes.
    pub fn watching(&self, leaf: &Certificate, path: &str) -> Option<&Arc<Producer>> {
        if !self.watches {
            return None;
        }
        self.find(leaf.subject(), path, Force::Shadow)
    }

    fn find(
        &self,
        subject: &DistinguishedName,
        path: &str,
        force: Force,
    ) -> Option<&Arc<Producer>> {
        let mut common = None;
        for producer in self.by_subject.get(subject.key())? {
            if producer.force != force {
                continue;
            }
            match &producer.path {
                Some(own) if **own == *path => return Some(producer),
                Some(_) => {}
                None => common = Some(producer),
            }
        }
        common.filter(|_| self.common.contains(path))
    }
}

/// What a mark that only watches would have decided.
#[derive(Clone, Copy, Debug)]
pub struct ShadowVerdict<'a> {
    /// The producer that bears the mark.
    pub producer: &'a Arc<Producer>,
    /// What is marked.
    pub mark: ShadowMark,
    /// Which pin, if one is marked.
    pub pin: Option<SpkiPin>,
    /// What it would have done.
    pub would: Would,
}

/// What can be marked `shadow = true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShadowMark {
    /// A trust anchor for clients.
    ClientCa,
    /// The whole producer.
    Producer,
    /// A pin.
    Pin,
    /// A secret.
    Secret,
}

impl ShadowMark {
    /// The name in metrics and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientCa => "client_ca",
            Self::Producer => "producer",
            Self::Pin => "pin",
            Self::Secret => "secret",
        }
    }
}

/// A word that names nothing that can be marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no shadow mark has this name")]
pub struct NotAMark;

impl FromStr for ShadowMark {
    type Err = NotAMark;

    fn from_str(text: &str) -> Result<Self, NotAMark> {
        match text {
            "client_ca" => Ok(Self::ClientCa),
            "producer" => Ok(Self::Producer),
            "pin" => Ok(Self::Pin),
            "secret" => Ok(Self::Secret),
            _ => Err(NotAMark),
        }
    }
}

/// What a mark, by itself, would have done with what it met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Would {
    /// It would have accepted what was refused.
    Accept,
    /// It would have accepted what was accepted without it.
    Agree,
    /// It would have refused.
    Refuse,
}

impl Would {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Agree => "agree",
            Self::Refuse => "refuse",
        }
    }
}
