//! `aerie db check`.

use serde_json::json;

use super::super::{CliError, print};
use super::Meter;
use crate::index::check::{Options, Report, check};
use crate::store::{Store, Writer};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Recompute the CID of every record, not only of a sample
    #[arg(long)]
    full: bool,
    /// Rewrite counters that are wrong, and the time order of the fans of the popular
    ///
    /// What else differs is only reported: it comes back right when its repo is fetched again.
    #[arg(long)]
    repair: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, store: Store) -> Result<(), CliError> {
    let mut meter = Meter::new(&store);
    let writer = if args.repair { Some(Writer::start(store.clone())?) } else { None };
    let options = Options { full: args.full, repair: writer.as_ref().map(|(w, _)| w) };
    let report = check(&store, &options, &mut |p| meter.at(p.ks.name(), p.rows));
    if let Some((writer, thread)) = writer {
        drop(writer);
        thread
            .join()
            .map_err(|_| CliError::Failed("the writer of the store panicked".to_owned()))??;
    }
    let report = report?;
    print(&report_json(&report), args.json, |_| report_text(&report, args.repair))?;
    if report.is_clean() { Ok(()) } else { Err(CliError::Differs) }
}

fn report_json(report: &Report) -> serde_json::Value {
    let rows: serde_json::Map<_, _> =
        report.rows.iter().map(|(ks, n)| (ks.name().to_owned(), json!(n))).collect();
    let findings: serde_json::Map<_, _> = report
        .findings
        .iter()
        .map(|(kind, f)| ((*kind).to_owned(), json!({ "count": f.count, "samples": f.samples })))
        .collect();
    json!({
        "clean": report.is_clean(),
        "rows": rows,
        "rebuilt": report.rebuilt,
        "findings": findings,
        "repaired": report.repaired,
    })
}

fn report_text(report: &Report, repair: bool) -> String {
    let mut out = String::new();
    for (kind, finding) in &report.findings {
        out += &format!("{kind}: {}\n", finding.count);
        for sample in &finding.samples {
            out += &format!("  {sample}\n");
        }
        if finding.count > finding.samples.len() as u64 {
            out += "  ...\n";
        }
    }
    let rows: u64 = report.rows.iter().map(|(_, n)| n).sum();
    out += &format!("{rows} rows read, {} records rebuilt: ", report.rebuilt);
    let differences: u64 = report.findings.values().map(|f| f.count).sum();
    out += &match differences {
        0 => "everything fits\n".to_owned(),
        n => format!("{n} differences\n"),
    };
    if repair {
        out += &format!("{} repairs written\n", report.repaired);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::rows::Counter;
    use crate::schema::{Edit, Target};
    use crate::store::Tx;

    #[tokio::test]
    async fn differences_fail_until_they_are_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        let damage = |tx: &mut Tx<'_>| {
            let a = Target::Actor(tx.intern_actor("did:web:a.example")?);
            tx.count(a, Counter::Posts, 3).map(drop)
        };
        writer.durable(damage).await.unwrap();
        drop(writer);
        thread.join().unwrap().unwrap();
        let report = check(&store, &Options::default(), &mut |_| {}).unwrap();
        let text = report_text(&report, false);
        assert!(
            text.contains("count-posts: 1\n  did:web:a.example: 3 held, 0 counted\n"),
            "{text}"
        );
        let json = report_json(&report);
        assert_eq!(json["clean"], false);
        assert_eq!(json["findings"]["count-posts"]["count"], 1);
        let args = |repair| Args { repair, ..Args::default() };
        for (repair, clean) in [(false, false), (true, false), (false, true)] {
            assert_eq!(run(&args(repair), store.clone()).is_ok(), clean, "repair: {repair}");
        }
    }
}
