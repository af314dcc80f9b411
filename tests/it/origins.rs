//! A page in the operator's browser gets nothing of the operator's side for another origin's sake.

use std::{
    io::{BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{Answer, Receiver};

/// What the operator's side answers to a request with these headers, of which none is added.
fn ask(receiver: &Receiver, start: &str, headers: &str) -> Answer {
    let mut tcp = TcpStream::connect(receiver.admin).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        tcp,
        "{start} HTTP/1.1\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    Answer::read(&mut BufReader::new(tcp)).unwrap()
}

#[test]
fn what_a_browser_asks_for_the_sake_of_a_page_from_elsewhere_is_refused_on_every_path() {
    let receiver = Receiver::start();
    let host = format!("Host: {}\r\n", receiver.admin);
    let own = format!("{host}Origin: http://{}\r\n", receiver.admin);
    let refused = [
        "Host: attacker.example\r\n".to_owned(),
        format!("{host}Host: attacker.example\r\n"),
        format!("Host: attacker.example\r\n{host}"),
        format!("{host}Origin: http://attacker.example\r\n"),
        format!("{host}Origin: null\r\n"),
        format!("{host}Origin: http://localhost\r\n"),
        format!("{host}Origin: {}\r\n", receiver.admin),
        format!("{host}Sec-Fetch-Site: cross-site\r\n"),
        format!("{host}Sec-Fetch-Site: same-site\r\n"),
        format!("{own}Sec-Fetch-Site: cross-site\r\n"),
    ];
    let paths = [
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "GET /api/events",
        "POST /api/reload",
        "GET /no/such/page",
    ];
    for (start, headers) in paths
        .iter()
        .flat_map(|start| refused.iter().map(move |one| (start, one)))
    {
        let answer = ask(&receiver, start, headers);
        assert_eq!(
            (answer.status, answer.problem().as_deref()),
            (403, Some("other-origin")),
            "{start} {headers}"
        );
    }
    let of_another = format!("GET http://attacker.example/metrics\n{host}");
    let (start, headers) = of_another.split_once('\n').unwrap();
    assert_eq!(ask(&receiver, start, headers).status, 403);
    for headers in [
        host.clone(),
        own.clone(),
        format!("{host}Sec-Fetch-Site: none\r\n"),
        format!("{own}Sec-Fetch-Site: same-origin\r\n"),
    ] {
        assert_eq!(
            ask(&receiver, "POST /api/reload", &headers).status,
            200,
            "{headers}"
        );
    }
}
