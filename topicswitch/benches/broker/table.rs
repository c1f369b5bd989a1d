//! Several measurements of one thing: median and spread, in a table.

use topicswitch::load::Outcome;

/// The measurements of one broker.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) outcomes: Vec<Outcome>,
}

/// A figure of a measurement.
pub(crate) type Figure = fn(&Outcome) -> Option<f64>;

/// A column: heading, digits behind the point, figure.
pub(crate) type Column = (&'static str, usize, Figure);

pub(crate) const PUBLISHED: Column = ("published/s", 0, |o| Some(o.published_per_second));
pub(crate) const DELIVERED: Column = ("delivered/s", 0, |o| Some(o.delivered_per_second));
pub(crate) const CPU_PUBLICATION: Column = ("CPU us/publication", 2, |o| {
    o.broker.map(|broker| broker.cpu_us_per_publication)
});
pub(crate) const CPU_DELIVERY: Column = ("CPU us/delivery", 2, |o| {
    o.broker.map(|broker| broker.cpu_us_per_delivery)
});
pub(crate) const CORES: Column = ("cores", 2, |o| o.broker.map(|broker| broker.cores));
pub(crate) const GENERATOR: Column = ("generator", 2, |o| Some(o.generator_busy));
pub(crate) const P50: Column = ("p50 us", 1, |o| o.latency_us.map(|us| us.p50));
pub(crate) const P99: Column = ("p99 us", 1, |o| o.latency_us.map(|us| us.p99));
pub(crate) const P999: Column = ("p99.9 us", 1, |o| o.latency_us.map(|us| us.p999));
pub(crate) const ROUND_P50: Column = ("ack p50 us", 1, |o| o.acknowledged_us.map(|us| us.p50));
pub(crate) const ROUND_P99: Column = ("ack p99 us", 1, |o| o.acknowledged_us.map(|us| us.p99));
pub(crate) const RESIDENT: Column = ("MiB", 1, |o| {
    o.broker
        .map(|broker| broker.resident as f64 / f64::from(1 << 20))
});

impl Series {
    /// The figures, in order; measurements without it are left out.
    fn sorted(&self, figure: Figure) -> Vec<f64> {
        let mut values: Vec<f64> = self.outcomes.iter().filter_map(figure).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    pub(crate) fn median(&self, figure: Figure) -> Option<f64> {
        let values = self.sorted(figure);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(values[middle]),
            _ => Some((values[middle - 1] + values[middle]) / 2.0),
        }
    }

    fn cell(&self, figure: Figure, digits: usize) -> String {
        let values = self.sorted(figure);
        match (self.median(figure), values.first(), values.last()) {
            (Some(median), Some(least), Some(most)) if values.len() > 1 => {
                format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
            }
            (Some(median), _, _) => format!("{median:.digits$}"),
            _ => "-".to_owned(),
        }
    }

    /// Nothing lost, twice, out of order or refused.
    pub(crate) fn is_exact(&self) -> bool {
        self.outcomes.iter().all(Outcome::is_exact)
    }

    /// At most one delivery in a hundred was lost: times can still be compared.
    pub(crate) fn is_nearly_exact(&self) -> bool {
        let sum = |of: fn(&Outcome) -> u64| self.outcomes.iter().map(of).sum::<u64>();
        sum(|o| o.lost + o.behind + o.refused) * 100 <= sum(|o| o.delivered)
    }

    /// What was not exact, in words.
    fn faults(&self) -> String {
        let sum = |of: fn(&Outcome) -> u64| self.outcomes.iter().map(of).sum::<u64>();
        if self.is_exact() {
            return "none".to_owned();
        }
        format!(
            "{} lost, {} behind, {} refused",
            sum(|o| o.lost),
            sum(|o| o.behind),
            sum(|o| o.refused)
        )
    }
}

/// Prints the median of each column, with the least and the most in parentheses.
pub(crate) fn print(series: &[Series], columns: &[Column]) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let headings = columns.iter().map(|column| column.0.to_owned());
    rows.push(
        std::iter::once("broker".to_owned())
            .chain(headings)
            .chain(["faults".to_owned()])
            .collect(),
    );
    for one in series {
        let cells = columns
            .iter()
            .map(|&(_, digits, figure)| one.cell(figure, digits));
        rows.push(
            std::iter::once(one.name.clone())
                .chain(cells)
                .chain([one.faults()])
                .collect(),
        );
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells: Vec<String> = cells
            .map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        println!("  {}", cells.join("  "));
    }
}

/// Prints how ours compares with RSMB, if it is there: the best median of each, among the series that
/// count.
pub(crate) fn ratio(
    series: &[Series],
    (what, _, figure): Column,
    better: Better,
    counts: fn(&Series) -> bool,
) {
    let best = |of: &str| {
        series
            .iter()
            .filter(|one| one.name.starts_with(of) && counts(one))
            .filter_map(|one| one.median(figure))
            .reduce(|a, b| match better {
                Better::More => a.max(b),
                Better::Less => a.min(b),
            })
    };
    if !series.iter().any(|one| one.name.starts_with("RSMB")) {
        return;
    }
    match (best("topicswitch"), best("RSMB"), better) {
        (Some(ours), Some(peer), Better::More) => {
            println!("  {what}: {:.2} times RSMB's", ours / peer);
        }
        (Some(ours), Some(peer), Better::Less) => {
            println!("  {what}: RSMB's is {:.2} times ours", peer / ours);
        }
        _ => println!("  {what}: no ratio, one of the two loses messages"),
    }
}

/// Which way of a figure is the good one.
#[derive(Clone, Copy)]
pub(crate) enum Better {
    More,
    Less,
}
