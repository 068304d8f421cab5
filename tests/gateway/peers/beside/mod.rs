//! Compares the gateway and nginx in front of one upstream: an input for each way in which they once differed, the result
//! of each, and the right result with the section that says so. `--nocapture` prints the table.
//!
//! A row that does not apply to nginx says `-`.

mod front;
mod more;
mod rows;
mod service;
mod wire;

use self::front::Fronts;
use self::more::MORE;
use self::rows::ROWS;

#[test]
fn beside_nginx_in_front_of_the_same_upstream() {
    let mut fronts = Fronts::start();
    let (mut table, mut wrong) = (Vec::new(), Vec::new());
    for row in ROWS.iter().chain(MORE) {
        let nginx = if row.for_nginx { (row.ask)(&fronts, &fronts.nginx) } else { "-".into() };
        let ours = (row.ask)(&fronts, &fronts.doorwarden);
        if ours != row.right {
            wrong.push(row.number);
        }
        table.push((row.number, row.input, nginx, ours, row.right, row.says));
    }
    let last = [fronts.renewal(), fronts.renewal_by_link()].into_iter().chain(fronts.stop());
    for (number, input, [nginx, ours], right, says) in last {
        if ours != right {
            wrong.push(number);
        }
        table.push((number, input, nginx, ours, right, says));
    }
    table.sort_by_key(|row| row.0);
    eprintln!("row | input | nginx | doorwarden | right | says");
    for (number, input, nginx, ours, right, says) in table {
        eprintln!("{number} | {input} | {nginx} | {ours} | {right} | {says}");
    }
    assert!(wrong.is_empty(), "rows {wrong:?}");
}
