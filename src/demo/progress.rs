use indicatif::{ProgressBar, ProgressStyle};

/// A bar for work of known length. Shown on a terminal only; elsewhere indicatif stays silent, and the title is printed
/// once so that a log shows what is going on.
pub fn bar(title: &str, length: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{msg:<34} [{bar:36}] {pos:>7}/{len:<7} {per_sec:>10} {elapsed:>4}")
        .expect("the template is well formed")
        .progress_chars("=> ");
    bar.set_style(style);
    bar.set_message(title.to_owned());
    if bar.is_hidden() && length > 0 {
        eprintln!("{title}: {length}");
    }
    bar
}
