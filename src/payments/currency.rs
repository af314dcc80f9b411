//! Currencies and their exponents: ISO 4217, list one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An ISO 4217 currency that has a minor unit. Metals, funds without one (`XDR`) and the codes for testing
/// and for no currency are none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

/// The text is no code of ISO 4217 that has a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a currency code of ISO 4217 with a minor unit")]
pub struct UnknownCurrency;

/// No decimals.
const ZERO: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";

/// Two decimals. Codes withdrawn since 2020 stay (`ANG`, `BGN`, `CUC`, `HRK`, `SLL`, `ZWL`): refunds and disputes
/// outlive a currency.
const TWO: &str = "\
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD \
    CAD CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL \
    GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR \
    LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB \
    PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP \
    SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG \
    ZWL";

/// Three decimals.
const THREE: &str = "BHD IQD JOD KWD LYD OMR TND";

/// Four decimals.
const FOUR: &str = "CLF UYW";

/// All of them, sorted by code: the search is a handful of comparisons on one cache line after another.
static TABLE: std::sync::LazyLock<Vec<([u8; 3], u8)>> = std::sync::LazyLock::new(|| {
    let mut table: Vec<_> = [(ZERO, 0), (TWO, 2), (THREE, 3), (FOUR, 4)]
        .into_iter()
        .flat_map(|(codes, exponent)| {
            codes
                .split_ascii_whitespace()
                .filter_map(move |code| Some((code.as_bytes().try_into().ok()?, exponent)))
        })
        .collect();
    table.sort_unstable();
    table
});

impl Currency {
    /// Its code, upper case.
    #[must_use]
    pub fn code(&self) -> &str {
        // The code came from ASCII letters.
        std::str::from_utf8(&self.code).unwrap_or_default()
    }

    /// How many decimals its minor unit stands for: 0, 2, 3 or 4.
    #[must_use]
    pub const fn exponent(&self) -> u8 {
        self.exponent
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    /// Accepts either case: Stripe, for one, writes lower case.
    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        let mut code: [u8; 3] = text
            .as_bytes()
            .try_into()
            .map_err(|_not_three| UnknownCurrency)?;
        code.make_ascii_uppercase();
        let found = TABLE
            .binary_search_by_key(&code, |(code, _)| *code)
            .ok()
            .and_then(|index| TABLE.get(index));
        match found {
            Some(&(code, exponent)) => Ok(Self { code, exponent }),
            None => Err(UnknownCurrency),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = UnknownCurrency;

    fn try_from(text: String) -> Result<Self, UnknownCurrency> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &str, exponent: Option<u8>) {
        let currency = code.parse::<Currency>().ok();
        assert_eq!(currency.map(|c| c.exponent()), exponent, "{code}");
    }

    #[test]
    fn each_currency_has_its_exponent() {
        check("EUR", Some(2));
        check("eur", Some(2));
        check("JPY", Some(0));
        check("KWD", Some(3));
        check("CLF", Some(4));
        check("CLP", Some(0));
        check("MGA", Some(2));
        check("MRU", Some(2));
        check("IQD", Some(3));
        check("HUF", Some(2));
        check("ISK", Some(0));
        check("UYW", Some(4));
    }

    #[test]
    fn what_has_no_minor_unit_is_no_currency() {
        for code in [
            "XAU", "XDR", "XXX", "XTS", "BTC", "EU", "EURO", "", "E R", "ÄÖ",
        ] {
            check(code, None);
        }
    }

    #[test]
    fn no_code_stands_twice() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(TABLE.len(), 17 + 145 + 7 + 2);
    }
}
