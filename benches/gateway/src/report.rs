//! Medians, ratios, and tables in Markdown.

/// The median; `None` of nothing.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

pub(crate) fn worst(figures: Vec<f64>) -> Option<f64> {
    figures.into_iter().max_by(f64::total_cmp)
}

/// The median of what each round has more than the same round of the other.
pub(crate) fn added(figures: &[f64], of_other: &[f64]) -> Option<f64> {
    median(figures.iter().zip(of_other).map(|(figure, other)| figure - other).collect())
}

pub(crate) fn number(figure: Option<f64>, digits: usize) -> String {
    or_dash(figure.map(|figure| format!("{figure:.digits$}")))
}

pub(crate) fn ratio(figure: Option<f64>, of: Option<f64>) -> String {
    or_dash(figure.zip(of).map(|(figure, of)| format!("{:.2}", figure / of)))
}

pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".into())
}

/// A table, the first column words and the others figures.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new(head: Vec<String>) -> Self {
        Self(vec![head])
    }

    pub(crate) fn add(&mut self, row: Vec<String>) {
        self.0.push(row);
    }

    pub(crate) fn print(&self) {
        println!("{self}");
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.0.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0).max(3)).collect();
        for (number, row) in self.0.iter().enumerate() {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(formatter, "| {cell:<width$} |")?;
                } else {
                    write!(formatter, " {cell:>width$} |")?;
                }
            }
            if number == 0 {
                let lines = widths.iter().enumerate().map(|(column, &width)| {
                    if column == 0 {
                        format!("{:-<1$}", "", width + 2)
                    } else {
                        format!("{:-<1$}:", "", width + 1)
                    }
                });
                write!(formatter, "\n|{}|", lines.collect::<Vec<_>>().join("|"))?;
            }
            if number + 1 < self.0.len() {
                writeln!(formatter)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, added, median, ratio};

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(vec![String::new(), "req/s".into()]);
        table.add(vec!["nginx".into(), "7".into()]);
        assert_eq!(table.to_string(), "|       | req/s |\n|-------|------:|\n| nginx |     7 |");
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(added(&[10.0, 30.0, 20.0], &[1.0, 2.0, 3.0]), Some(17.0));
        assert_eq!(ratio(Some(3.0), Some(2.0)), "1.50");
        assert_eq!(ratio(Some(3.0), None), "–");
    }
}
