//! Sizes as people say them: `500M`, `2GiB`.

/// Units of 1024, by the letter they begin with.
const UNITS: &str = "KMGTP";

/// Parses a number of bytes: digits, perhaps with a fraction, and a unit (`K`, `M`, `G`, `T`, `P`,
/// each 1024 of the one before; `MB` and `MiB` are the same as `M`).
///
/// # Errors
///
/// What a size looks like.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    const RULE: &str = "a size is a number of bytes with or without a unit, as in 500M or 2GiB";
    let text = text.trim();
    let digits =
        text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let letter = unit.strip_suffix("IB").or(unit.strip_suffix('B')).unwrap_or(&unit);
    let power = match letter {
        "" if unit != "IB" => 0,
        _ if letter.len() == 1 => UNITS.find(letter).ok_or(RULE)? + 1,
        _ => return Err(RULE.to_owned()),
    };
    let factor = 1_u64 << (10 * power);
    let bytes = match number.split_once('.') {
        None => number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)),
        Some((whole, part)) if part.len() <= 6 => fraction(whole, part, factor),
        Some(_) => None,
    };
    bytes.filter(|bytes| *bytes > 0 && i64::try_from(*bytes).is_ok()).ok_or_else(|| RULE.to_owned())
}

/// A number with digits behind its point.
fn fraction(whole: &str, part: &str, factor: u64) -> Option<u64> {
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let number: u128 = format!("{whole}{part}").parse().ok()?;
    u64::try_from(number.checked_mul(u128::from(factor))? / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1", 1),
            ("500", 500),
            ("1k", 1024),
            ("2 MiB", 2 << 20),
            ("2MB", 2 << 20),
            ("1.5G", 3 << 29),
            ("0.001T", 1_099_511_627),
            ("3b", 3),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "0", "M", "-1", "1X", "1MM", "1e3", "1.2.3G", "iB", "99999999999P", "much"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
