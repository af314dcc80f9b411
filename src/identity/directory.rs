//! The look-up from a subject and a path to a producer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Identified, IdentityRefusal, Producer, ProducerId, Standing};
use crate::tls::PeerCertificates;
use crate::x509::{DistinguishedName, Leaf, NameKey};

/// All producers, by the key of their subject. Immutable: a reload builds another.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    producers: Vec<Arc<Producer>>,
    by_subject: HashMap<NameKey, Vec<Arc<Producer>>>,
    cut_off: HashSet<ProducerId>,
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
            let producer = Arc::new(producer);
            let same_subject = directory
                .by_subject
                .entry(producer.subject.key().clone())
                .or_default();
            let rival = same_subject
                .iter()
                .find(|other| other.path == producer.path && other.standing == producer.standing);
            if let Some(rival) = rival {
                faults.push(DirectoryFault {
                    first: rival.id,
                    second: producer.id,
                });
            }
            same_subject.push(Arc::clone(&producer));
            same_subject.sort_by_key(|one| one.standing == Standing::Shadow);
            directory.producers.push(producer);
        }
        if faults.is_empty() {
            Ok(directory)
        } else {
            Err(faults)
        }
    }

    /// The same directory, in which these producers and no others are cut off.
    pub fn with_cut_offs(&self, is_cut_off: impl Fn(&Producer) -> bool) -> Self {
        let cut_off = self.producers.iter().filter(|one| is_cut_off(one));
        Self {
            producers: self.producers.clone(),
            by_subject: self.by_subject.clone(),
            cut_off: cut_off.map(|producer| producer.id).collect(),
        }
    }

    /// Whether any request with this leaf could pass gate 2: a live producer has its subject and its key, and is not cut off.
    pub fn may_deliver(&self, leaf: &Leaf) -> bool {
        self.claimed(leaf.subject()).any(|producer| {
            producer.standing == Standing::Live
                && !self.cut_off.contains(&producer.id)
                && (producer.pins.is_empty() || producer.pins.contains(&leaf.spki()))
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
            .find(leaf.subject(), path, Standing::Live)
            .ok_or_else(|| IdentityRefusal::UnknownProducer {
                subject: leaf.subject().clone(),
            })?;
        if self.cut_off.contains(&producer.id) {
            return Err(IdentityRefusal::CutOff {
                producer: Arc::clone(&producer.name),
            });
        }
        let presented = leaf.spki();
        if !producer.pins.is_empty() && !producer.pins.contains(&presented) {
            return Err(IdentityRefusal::PinMismatch {
                producer: Arc::clone(&producer.name),
                presented,
            });
        }
        Ok(Identified {
            producer: Arc::clone(producer),
            peer: peer.clone(),
        })
    }

    /// The producers, live ones first, whose subject this is: whom a refused certificate claims to be.
    pub fn claimed<'a>(
        &'a self,
        subject: &DistinguishedName,
    ) -> impl Iterator<Item = &'a Arc<Producer>> {
        self.by_subject.get(subject.key()).into_iter().flatten()
    }

    /// What the watching marks would have said of this leaf on this path, where it differs from `decided`.
    pub fn shadow_verdicts<'a>(
        &'a self,
        leaf: &Leaf,
        path: &str,
        decided: bool,
    ) -> Vec<ShadowVerdict<'a>> {
        let mut verdicts = Vec::new();
        if !decided && let Some(producer) = self.find(leaf.subject(), path, Standing::Shadow) {
            verdicts.push(ShadowVerdict {
                producer,
                mark: ShadowMark::Producer,
                would: Would::Accept,
            });
        }
        if let Some(producer) = self.find(leaf.subject(), path, Standing::Live)
            && !producer.shadow_pins.is_empty()
        {
            let pinned = producer.shadow_pins.contains(&leaf.spki());
            if pinned && !decided {
                verdicts.push(ShadowVerdict {
                    producer,
                    mark: ShadowMark::Pin,
                    would: Would::Accept,
                });
            } else if !pinned && decided && !producer.pins.contains(&leaf.spki()) {
                verdicts.push(ShadowVerdict {
                    producer,
                    mark: ShadowMark::Pin,
                    would: Would::Refuse,
                });
            }
        }
        verdicts
    }

    fn find(
        &self,
        subject: &DistinguishedName,
        path: &str,
        standing: Standing,
    ) -> Option<&Arc<Producer>> {
        let mut anywhere = None;
        for producer in self.by_subject.get(subject.key())? {
            if producer.standing != standing {
                continue;
            }
            match &producer.path {
                Some(own) if **own == *path => return Some(producer),
                Some(_) => {}
                None => anywhere = Some(producer),
            }
        }
        anywhere
    }
}

/// What a mark that only watches would have decided.
#[derive(Clone, Copy, Debug)]
pub struct ShadowVerdict<'a> {
    /// The producer that bears the mark.
    pub producer: &'a Arc<Producer>,
    /// What is marked.
    pub mark: ShadowMark,
    /// What it would have done.
    pub would: Would,
}

/// What of a producer is marked `shadow = true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowMark {
    /// The whole producer.
    Producer,
    /// A pin.
    Pin,
}

impl ShadowMark {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Pin => "pin",
        }
    }
}

/// What a mark would have done with a request that was decided otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Would {
    /// It would have opened the gate.
    Accept,
    /// It would have kept it shut.
    Refuse,
}
