use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use vostro_kernel::{Currency, Money};

/// One booking of the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    pub id: u64,
    pub account: u64,
    /// `YYMMDD`, which sorts by date because the data set ends before 2000.
    pub day: String,
    pub kind: Kind,
    /// Hellers, always positive.
    pub amount_minor: i64,
    /// The account's balance after the booking according to the file, in hellers.
    pub balance_minor: i64,
}

/// What the bank did, translated from Czech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    CashIn,
    CashOut,
    FromOtherBank,
    ToOtherBank,
    Card,
    InterestPaid,
    InterestCharged,
    Fee,
}

impl Kind {
    pub const fn is_credit(self) -> bool {
        matches!(self, Self::CashIn | Self::FromOtherBank | Self::InterestPaid)
    }
}

/// A line that could not be read, and why. It is reported and skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedLine {
    pub file: &'static str,
    pub line: u64,
    pub reason: String,
}

/// Everything the replay needs.
pub struct DataSet {
    /// Client numbers.
    pub clients: Vec<u64>,
    /// Account number to the client who owns it.
    pub owners: HashMap<u64, u64>,
    /// In date order; within a day, credits first (the true order inside a day is not in the file).
    pub bookings: Vec<Booking>,
    pub skipped: Vec<SkippedLine>,
}

/// Reads the folder.
///
/// # Errors
/// When a file is missing or has other columns. Single unreadable lines are only reported.
pub fn read(folder: &Path) -> anyhow::Result<DataSet> {
    let mut skipped = Vec::new();
    let clients = rows(folder, "client.asc", &["client_id"], &mut skipped, |row| number(row, 0))?;
    let owners = rows(folder, "disp.asc", &["disp_id", "client_id", "account_id", "type"], &mut skipped, |row| {
        Ok((field(row, 3)? == "OWNER", number(row, 2)?, number(row, 1)?))
    })?;
    let columns = ["trans_id", "account_id", "date", "type", "operation", "amount", "balance", "k_symbol"];
    let mut bookings = rows(folder, "trans.asc", &columns, &mut skipped, booking)?;
    bookings.sort_by(|a, b| (&a.day, !a.kind.is_credit()).cmp(&(&b.day, !b.kind.is_credit())));
    let owners =
        owners.into_iter().filter(|(owner, ..)| *owner).map(|(_, account, client)| (account, client)).collect();
    Ok(DataSet { clients, owners, bookings, skipped })
}

fn rows<T>(
    folder: &Path,
    file: &'static str,
    columns: &[&str],
    skipped: &mut Vec<SkippedLine>,
    read: impl Fn(&csv::StringRecord) -> Result<T, String>,
) -> anyhow::Result<Vec<T>> {
    let path = folder.join(file);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b';')
        .flexible(true)
        .from_path(&path)
        .with_context(|| format!("reading {}", path.display()))?;
    let header = reader.headers().with_context(|| format!("reading {}", path.display()))?.clone();
    if !header.iter().zip(columns).all(|(found, wanted)| found == *wanted) || header.len() < columns.len() {
        bail!("{} has other columns than expected: {header:?}", path.display());
    }
    let mut values = Vec::new();
    for record in reader.byte_records() {
        let record = record.with_context(|| format!("reading {}", path.display()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = csv::StringRecord::from_byte_record_lossy(record);
        let complete = if text.len() == header.len() {
            Ok(())
        } else {
            Err(format!("has {} of {} fields", text.len(), header.len()))
        };
        match complete.and_then(|()| read(&text)) {
            Ok(value) => values.push(value),
            Err(reason) => skipped.push(SkippedLine { file, line, reason }),
        }
    }
    Ok(values)
}

fn booking(row: &csv::StringRecord) -> Result<Booking, String> {
    let day = field(row, 2)?;
    if day.len() != 6 || !day.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{day:?} is not a date of the form YYMMDD"));
    }
    let amount_minor = minor(field(row, 5)?)?;
    if amount_minor <= 0 {
        return Err(format!("the amount {amount_minor} is not positive"));
    }
    Ok(Booking {
        id: number(row, 0)?,
        account: number(row, 1)?,
        day: day.to_owned(),
        kind: kind(field(row, 3)?, field(row, 4)?, field(row, 7)?)?,
        amount_minor,
        balance_minor: minor(field(row, 6)?)?,
    })
}

/// `PRIJEM` is credit, `VYDAJ` and the bare `VYBER` are debit; operation and symbol say what for.
fn kind(direction: &str, operation: &str, symbol: &str) -> Result<Kind, String> {
    match (direction, operation, symbol.trim()) {
        ("PRIJEM", _, "UROK") => Ok(Kind::InterestPaid),
        ("PRIJEM", "VKLAD", _) => Ok(Kind::CashIn),
        ("PRIJEM", "PREVOD Z UCTU", _) => Ok(Kind::FromOtherBank),
        ("VYDAJ" | "VYBER", _, "SLUZBY") => Ok(Kind::Fee),
        ("VYDAJ" | "VYBER", _, "SANKC. UROK") => Ok(Kind::InterestCharged),
        ("VYDAJ" | "VYBER", "VYBER", _) => Ok(Kind::CashOut),
        ("VYDAJ" | "VYBER", "VYBER KARTOU", _) => Ok(Kind::Card),
        ("VYDAJ" | "VYBER", "PREVOD NA UCET", _) => Ok(Kind::ToOtherBank),
        other => Err(format!("{other:?} is no known kind of booking")),
    }
}

fn minor(text: &str) -> Result<i64, String> {
    let czk: Currency = "CZK".parse().map_err(|_| "CZK is not a currency".to_owned())?;
    Money::parse(text, czk).map(|money| money.minor).map_err(|error| format!("{text:?}: {error}"))
}

fn number(row: &csv::StringRecord, index: usize) -> Result<u64, String> {
    let text = field(row, index)?;
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

fn field(row: &csv::StringRecord, index: usize) -> Result<&str, String> {
    row.get(index).ok_or_else(|| format!("field {} is missing", index + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        r#""trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account""#;

    fn read_with(transactions: &str) -> anyhow::Result<DataSet> {
        let folder = std::env::temp_dir().join(format!("berka-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("client.asc"), "\"client_id\";\"birth_number\";\"district_id\"\n1;\"706213\";18\n")?;
        std::fs::write(
            folder.join("disp.asc"),
            "\"disp_id\";\"client_id\";\"account_id\";\"type\"\n1;1;7;\"OWNER\"\n2;2;7;\"DISPONENT\"\n",
        )?;
        std::fs::write(folder.join("trans.asc"), transactions)?;
        let data = read(&folder);
        std::fs::remove_dir_all(&folder)?;
        data
    }

    #[test]
    fn bookings_come_in_date_order_with_the_credits_of_a_day_first() {
        let text = format!(
            "{HEADER}\n1;7;930102;\"VYDAJ\";\"VYBER\";1.50;2.00;\"\";;\n2;7;930102;\"PRIJEM\";\"VKLAD\";3.00;3.50;\"\";;\n3;7;930101;\"PRIJEM\";\"\";0.50;0.50;\"UROK\";;\n"
        );
        let data = read_with(&text).expect("readable");
        assert_eq!(data.bookings.iter().map(|booking| booking.id).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(data.bookings[2].amount_minor, 150);
        assert_eq!(data.bookings[0].kind, Kind::InterestPaid);
        assert_eq!(data.owners, HashMap::from([(7, 1)]));
        assert!(data.skipped.is_empty());
    }

    #[test]
    fn a_line_that_is_cut_off_or_broken_is_reported_with_its_number_and_skipped() {
        let text = format!(
            "{HEADER}\n1;7;930102;\"PRIJEM\";\"VKLAD\";x;2.00;\"\";;\n2;7;9301;\"PRIJEM\";\"VKLAD\";1.00;2.00;\"\";;\n3;7;930102;\"PRIJEM\";\"DAR\";1.00;2.00;\"\";;\n3526882;11021;940331;\"PRIJE"
        );
        let data = read_with(&text).expect("readable");
        assert!(data.bookings.is_empty());
        let skipped = data.skipped.iter().map(|skipped| (skipped.line, skipped.reason.as_str())).collect::<Vec<_>>();
        assert_eq!(skipped[0].0, 2);
        assert!(skipped[0].1.contains("not a decimal"), "{skipped:?}");
        assert!(skipped[1].1.contains("YYMMDD"), "{skipped:?}");
        assert!(skipped[2].1.contains("no known kind"), "{skipped:?}");
        assert_eq!(skipped[3], (5, "has 4 of 10 fields"));
    }

    #[test]
    fn a_file_with_other_columns_is_refused() {
        assert!(read_with("a;b;c\n1;2;3\n").is_err());
    }
}
