//! Columns that stand below each other, and figures for people.

/// Lines of cells, each column as wide as its widest cell; of `right`, the figures stand at the right.
pub(in crate::tools) fn table(head: &[&str], right: &[bool], lines: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let widths: Vec<_> = (0..head.len())
        .map(|column| {
            let cells = lines.iter().map(|line| width(&line[column]));
            cells.chain([width(head[column])]).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    let head: Vec<_> = head.iter().map(|&cell| cell.to_owned()).collect();
    for line in std::iter::once(&head).chain(lines) {
        let mut row = String::new();
        for (column, cell) in line.iter().enumerate() {
            let space = " ".repeat(widths[column] - width(cell));
            let gap = if column == 0 { "" } else { "  " };
            row.push_str(gap);
            match right[column] {
                true => row.extend([space.as_str(), cell]),
                false => row.extend([cell.as_str(), &space]),
            }
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// Names with their values, one a line.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let widest = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:widest$}  {value}\n")).collect()
}

/// A number of bytes in three or four digits.
pub(super) fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    match unit {
        0 => format!("{count} B"),
        _ if value < 9.995 => format!("{value:.2} {}", units[unit]),
        _ if value < 99.95 => format!("{value:.1} {}", units[unit]),
        _ => format!("{value:.0} {}", units[unit]),
    }
}

/// A time with its two largest units.
pub(super) fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let line = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = [line(["al\u{ed}ce", "5", "x"]), line(["b", "1234", ""])];
        let text = table(&["USER", "BYTES", "Y"], &[false, true, false], &lines);
        assert_eq!(text, "USER   BYTES  Y\nal\u{ed}ce      5  x\nb       1234\n");
        assert_eq!(pairs(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }

    #[test]
    fn figures_are_short() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        let times = [(0, "0s"), (59, "59s"), (61, "1m01s"), (3661, "1h01m"), (90_000, "1d01h")];
        for (seconds, text) in times {
            assert_eq!(time(seconds), text);
        }
    }
}
