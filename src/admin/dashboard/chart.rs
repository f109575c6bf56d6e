//! A day of an upstream as a drawing: events a second as an area, the lag as a dashed line, each to its own scale.

use maud::{Markup, html};

use crate::ops::{MINUTES, Minute};

const WIDTH: f32 = 720.0;
const HEIGHT: f32 = 120.0;
/// Below the drawing, for the hours.
const FOOT: f32 = 16.0;
/// Minutes that are drawn as one point: their mean and their longest lag.
const STEP: i64 = 4;

/// A point: minutes since the beginning of the drawing, mean rate, longest lag.
type Point = (i64, f32, Option<f32>);

/// The day up to the minute `now`; `name` says of what.
pub(super) fn chart(name: &str, minutes: &[Minute], now: i64) -> Markup {
    let begin = now + 1 - MINUTES;
    let points = points(minutes, begin);
    let rates = points.iter().map(|(_, rate, _)| *rate);
    let (most, longest) =
        (rates.fold(0.0, f32::max), points.iter().filter_map(|p| p.2).fold(0.0, f32::max));
    let x = |at: i64| at as f32 / MINUTES as f32 * WIDTH;
    let y = |value: f32, of: f32| HEIGHT - value / of.max(f32::MIN_POSITIVE) * (HEIGHT - 4.0);
    let rate: Vec<(f32, f32)> = points.iter().map(|p| (x(p.0), y(p.1, most))).collect();
    let lag: Vec<(f32, f32)> =
        points.iter().filter_map(|p| Some((x(p.0), y(p.2?, longest)))).collect();
    let under = match (rate.first(), rate.last()) {
        (Some(first), Some(last)) => {
            format!("{}L{:.1} {HEIGHT}L{:.1} {HEIGHT}Z", line(&rate), last.0, first.0)
        }
        _ => String::new(),
    };
    let said = format!(
        "The last 24 hours of {name}: at most {most:.0} events a second, lag at most {longest:.1} seconds."
    );
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {}", HEIGHT + FOOT)) role="img" aria-label=(said) {
            @for hours in [6_i64, 12, 18] {
                @let at = x(MINUTES - hours * 60);
                line.grid x1=(at) x2=(at) y1="0" y2=(HEIGHT) {}
                text x=(at + 4.0) y=(HEIGHT + FOOT - 4.0) { (hours) " h ago" }
            }
            line.grid x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
            path.under d=(under) {}
            path.rate d=(line(&rate)) {}
            path.lag d=(line(&lag)) {}
        }
        p.key {
            span.r { "— events a second, at most " (format!("{most:.0}")) } "   "
            span.l { "- - lag, at most " (format!("{longest:.1}")) " s" }
        }
    }
}

fn points(minutes: &[Minute], begin: i64) -> Vec<Point> {
    let mut out: Vec<Point> = Vec::new();
    let mut of = (i64::MIN, 0.0_f32);
    for minute in minutes.iter().filter(|minute| minute.minute >= begin) {
        let step = (minute.minute - begin) / STEP;
        match out.last_mut() {
            Some(last) if of.0 == step => {
                of.1 += 1.0;
                last.1 += (minute.rate - last.1) / of.1;
                last.2 = match (last.2, minute.lag) {
                    (Some(one), Some(other)) => Some(one.max(other)),
                    (one, other) => one.or(other),
                };
            }
            _ => {
                of = (step, 1.0);
                out.push((step * STEP, minute.rate, minute.lag));
            }
        }
    }
    out
}

/// A line through points, from left to right; where minutes are missing it begins anew.
fn line(points: &[(f32, f32)]) -> String {
    let gap = x_of(2 * STEP + 1);
    let mut out = String::new();
    let mut before = f32::NEG_INFINITY;
    for (x, y) in points {
        let move_to = if x - before > gap { 'M' } else { 'L' };
        out += &format!("{move_to}{x:.1} {y:.1}");
        before = *x;
    }
    out
}

fn x_of(minutes: i64) -> f32 {
    minutes as f32 / MINUTES as f32 * WIDTH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Samples;

    fn minutes(at: &[(i64, f64)]) -> Vec<Minute> {
        let samples = Samples::default();
        for (minute, rate) in at {
            samples.take("u", *rate, Some(2000), minute * 60_000);
        }
        samples.of("u")
    }

    #[test]
    fn a_day_is_drawn_with_its_gaps() {
        let all: Vec<(i64, f64)> = (0..100).chain(200..300).map(|m| (m, m as f64)).collect();
        let drawn = chart("<u>", &minutes(&all), 300).into_string();
        assert!(
            drawn.contains("at most 298 events a second") && drawn.contains("&lt;u&gt;"),
            "{drawn}"
        );
        let rate = drawn.split("class=\"rate\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(rate.matches('M').count(), 2, "{rate}");
        // The day does not begin with a whole step.
        assert!((50..=52).contains(&rate.matches(['M', 'L']).count()), "{rate}");
        assert!(!drawn.contains("style="), "no page may have that");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let drawn = chart("u", &[], 300).into_string();
        assert!(drawn.contains("class=\"rate\" d=\"\""), "{drawn}");
        assert!(!drawn.contains("NaN"));
    }
}
