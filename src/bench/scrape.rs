use anyhow::Context as _;

use crate::client::Connection;

/// The sum of a counter over all its series whose labels contain `label`, from the bank's own metrics page.
pub async fn counter(connection: &mut Connection, name: &str, label: &str) -> anyhow::Result<u64> {
    let (_, page) = connection.get("/metrics").await?;
    let page = std::str::from_utf8(&page).context("the metrics page is not text")?;
    Ok(sum(page, name, label))
}

fn sum(page: &str, name: &str, label: &str) -> u64 {
    page.lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_series_of_the_wanted_counter_are_summed() {
        let page = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na{x=\"2\"} 5\nab{x=\"1\"} 6\n";
        assert_eq!(sum(page, "a", "x=\"1\""), 7);
    }
}
