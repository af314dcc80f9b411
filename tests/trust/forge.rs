//! Makes certificates and revocation lists, good ones and such as no CA should sign.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, SigningKey, date_time_ymd,
};

/// A CA: its certificate, and what it needs to issue.
#[derive(Clone)]
pub(crate) struct Ca {
    pub(crate) der: Vec<u8>,
    pub(crate) params: CertificateParams,
    pub(crate) key: Arc<KeyPair>,
}

impl Ca {
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    pub(crate) fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = ca_params(name);
        change(&mut params);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let key = Arc::new(key);
        Self { der, params, key }
    }

    pub(crate) fn sub(&self, name: &str) -> Self {
        self.sub_with(name, |_| {})
    }

    pub(crate) fn sub_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = Arc::new(KeyPair::generate().unwrap());
        let mut params = ca_params(name);
        change(&mut params);
        let der = self.certify(&params, &key);
        Self { der, params, key }
    }

    /// The same name and key, certified by another CA.
    pub(crate) fn certified_by(&self, other: &Self) -> Self {
        let der = other.certify(&self.params, &self.key);
        Self {
            der,
            ..self.clone()
        }
    }

    pub(crate) fn leaf(&self) -> Vec<u8> {
        self.leaf_with(|_| {})
    }

    pub(crate) fn leaf_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        self.leaf_and_key(change).0
    }

    pub(crate) fn leaf_and_key(
        &self,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf_params();
        change(&mut params);
        (self.certify(&params, &key), key)
    }

    pub(crate) fn certify(&self, params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &*self.key);
        params.signed_by(key, &issuer).unwrap().der().to_vec()
    }

    /// A leaf with the key of this DER `SubjectPublicKeyInfo`, whatever kind of key that is.
    pub(crate) fn leaf_of(&self, raw_spki: &[u8]) -> Vec<u8> {
        let leaf = countersign::x509::Certificate::decode(&self.leaf()).unwrap();
        let signed = leaf.signed_data();
        let old = leaf.raw_spki();
        let at = |whole: &[u8]| {
            whole
                .windows(old.len())
                .position(|part| part == old)
                .unwrap()
        };
        // The contents of the TBSCertificate, without its header of four bytes, or three.
        let header = match signed.message[1] {
            0x82 => 4,
            0x81 => 3,
            _ => 2,
        };
        let contents = &signed.message[header..];
        let place = at(contents);
        let after = &contents[place + old.len()..];
        let tbs = der(0x30, &[&contents[..place], raw_spki, after]);
        let signature = der(3, &[&[0], &self.key.sign(&tbs).unwrap()]);
        der(0x30, &[&tbs, signed.algorithm, &signature])
    }

    /// A list that holds from 2026-06-01 to 2026-07-01.
    pub(crate) fn crl(&self, serials: &[u8]) -> Vec<u8> {
        self.crl_with(serials, |_| {})
    }

    pub(crate) fn crl_with(
        &self,
        serials: &[u8],
        change: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> Vec<u8> {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2026, 5, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let mut params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 6, 1),
            next_update: date_time_ymd(2026, 7, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        let issuer = Issuer::from_params(&self.params, &*self.key);
        params.signed_by(&issuer).unwrap().der().to_vec()
    }

    /// A list, properly signed, of which everything after `nextUpdate` is as given.
    pub(crate) fn odd_crl(&self, list: OddCrl<'_>) -> Vec<u8> {
        let ecdsa_with_sha256 = der(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
        let issuer = countersign::x509::Certificate::decode(&self.der).unwrap();
        let mut fields: Vec<&[u8]> = Vec::new();
        if list.version_2 {
            fields.push(&[2, 1, 1]);
        }
        let this_update = der(0x17, &[b"260601000000Z"]);
        let next_update = der(0x17, &[b"260701000000Z"]);
        fields.extend([&ecdsa_with_sha256[..], issuer.subject_der(), &this_update]);
        if list.next_update {
            fields.push(&next_update);
        }
        let entries = der(0x30, list.entries);
        if !list.entries.is_empty() {
            fields.push(&entries);
        }
        let extensions = der(0xa0, &[&der(0x30, list.extensions)]);
        if !list.extensions.is_empty() {
            fields.push(&extensions);
        }
        let tbs = der(0x30, &fields);
        let signature = self.key.sign(&tbs).unwrap();
        let signature = der(3, &[&[0], &signature]);
        der(0x30, &[&tbs, &ecdsa_with_sha256, &signature])
    }
}

/// See [`Ca::odd_crl`].
pub(crate) struct OddCrl<'a> {
    pub(crate) version_2: bool,
    pub(crate) next_update: bool,
    pub(crate) entries: &'a [&'a [u8]],
    pub(crate) extensions: &'a [&'a [u8]],
}

/// An entry of a list: a serial number, and extensions.
pub(crate) fn entry(serial: &[u8], extensions: &[&[u8]]) -> Vec<u8> {
    let time = der(0x17, &[b"260501000000Z"]);
    let serial = der(2, &[serial]);
    let list = der(0x30, extensions);
    if extensions.is_empty() {
        der(0x30, &[&serial, &time])
    } else {
        der(0x30, &[&serial, &time, &list])
    }
}

/// The extension `2.5.29.number`.
pub(crate) fn extension(number: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let id = [6, 3, 0x55, 0x1d, number];
    let value = der(4, &[value]);
    if critical {
        der(0x30, &[&id, &[1, 1, 0xff], &value])
    } else {
        der(0x30, &[&id, &value])
    }
}

/// One DER element.
pub(crate) fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let mut element = vec![tag];
    match contents.len() {
        short @ ..0x80 => element.push(short.try_into().unwrap()),
        long => {
            element.push(0x82);
            element.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    if contents.len() >= 0x80 && contents.len() < 0x100 {
        element.splice(1..3, [0x81]);
    }
    element.extend(contents);
    element
}

pub(crate) fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name.push(DnType::OrganizationName, "Example");
    name
}

pub(crate) fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = name(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

pub(crate) fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = name("payments-provider");
    params.serial_number = Some(SerialNumber::from_slice(&[7]));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

/// Runs `openssl` with these words in `directory`.
#[track_caller]
pub(crate) fn openssl(directory: &Path, words: &str) {
    // A word in single quotes may hold blanks.
    let mut arguments: Vec<String> = Vec::new();
    for (place, part) in words.split('\'').enumerate() {
        if place % 2 == 1 {
            arguments.push(part.to_owned());
        } else {
            arguments.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    let output = Command::new("openssl")
        .args(&arguments)
        .current_dir(directory)
        .output()
        .expect("openssl is installed");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words}: {told}");
}
