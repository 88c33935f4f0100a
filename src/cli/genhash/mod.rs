//! genhash(1): the MD5 sum of a web page, as `digest` of keepalived's HTTP_GET and SSL_GET wants it.
//!
//! Part of the daemon's program, as in keepalived: under the name genhash, or behind `--genhash`. It asks one server one
//! question and prints; it has nothing to do with a running daemon. Everything behind the header counts into the sum as it
//! came over the wire, chunk sizes included, since keepalived's checker sums it like that. Request and TLS are those of
//! the daemon's checks ([`crate::probe`]): a page that has a sum here has it there.

mod dump;

use crate::probe::{http, tls};
use crate::spec::balance::HttpProtocol;
use clap::{CommandFactory, FromArgMatches, Parser};
use md5::{Digest, Md5};
use socket2::{Domain, Protocol, Socket, Type};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a connection may take, and how long a server may be silent, unless `-t` says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
/// No header of a web server is longer.
const LONGEST_HEADER: usize = 1 << 20;

#[derive(Parser, Debug)]
#[command(name = "genhash", about = "MD5 sum of a web page, for keepalived's HTTP_GET", disable_help_flag = true)]
#[command(override_usage = "genhash [-S [-I]] -s SERVER -p PORT -u URL [OPTION...]", args_override_self = true)]
#[command(infer_long_args = true)]
struct Flags {
    /// Speak TLS with the server; any certificate will do
    #[arg(short = 'S', long)]
    use_ssl: bool,
    /// Name the virtual host of -V in the TLS handshake
    #[arg(short = 'I', long)]
    use_sni: bool,
    /// IP address of the server
    #[arg(short = 's', long, value_name = "ADDRESS", required_unless_present = "help")]
    server: Option<String>,
    /// Port of the server
    #[arg(short = 'p', long, value_name = "PORT", required_unless_present = "help")]
    port: Option<String>,
    /// Path of the page
    #[arg(short = 'u', long, value_name = "URL", required_unless_present = "help")]
    url: Option<String>,
    /// Name in the Host line; by default the address, with the port
    #[arg(short = 'V', long, value_name = "HOST")]
    use_virtualhost: Option<String>,
    /// Show header and page as well
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Firewall mark of the packets
    #[arg(short = 'm', long, value_name = "MARK")]
    fwmark: Option<String>,
    /// HTTP protocol: 1.0, 1.0c (1.0 with "Connection: close") or 1.1
    #[arg(short = 'P', long, value_name = "VERSION", default_value = "1.0")]
    protocol: String,
    /// Seconds to connect, and for the server to say something
    #[arg(short = 't', long, value_name = "SECONDS")]
    timeout: Option<String>,
    /// Display this help message
    #[arg(short = 'h', long)]
    help: bool,
}

/// What is asked, of whom.
#[derive(Debug)]
struct Question {
    server: SocketAddr,
    url: String,
    host: String,
    protocol: HttpProtocol,
    /// The name in the handshake is said only when asked for.
    tls: Option<Option<String>>,
    mark: Option<u32>,
    patience: Duration,
    verbose: bool,
}

/// The command line, for the manual page.
pub fn command() -> clap::Command {
    Flags::command()
}

/// The arguments of genhash, if that is what the command line of the daemon's program asks for.
pub fn asked(args: &[OsString]) -> Option<Vec<OsString>> {
    let (_, rest) = args.split_first()?;
    if super::is_called(args, "genhash") {
        return Some(rest.to_vec());
    }
    let is_flag = |arg: &OsString| {
        arg == "-T" || arg.to_str().is_some_and(|word| word.len() > 2 && "--genhash".starts_with(word))
    };
    let at = rest.iter().position(is_flag)?;
    if at > 0 {
        eprintln!("Warning -- `genhash` not used as first option, previous options ignored");
    }
    Some(rest[at + 1..].to_vec())
}

/// Asks, prints the sum; exit code 1 with a wrong command line and when there is no sum.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let question = match read(args) {
        Ok(Some(question)) => question,
        Ok(None) => {
            eprint!("{}", Flags::command().render_help());
            return ExitCode::FAILURE;
        }
        Err(complaint) => {
            eprintln!("{}", complaint.trim_end());
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    let mut out = io::stdout().lock();
    let code = match ask(&question, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            let _ = out.flush();
            eprintln!("{trouble}");
            ExitCode::FAILURE
        }
    };
    if question.verbose {
        let time = began.elapsed().as_micros();
        let _ = writeln!(out, "\nGlobal response time for [{}] = {time} usecs", question.url);
    }
    let _ = out.flush();
    code
}

/// `None`: help is wanted.
fn read(args: Vec<OsString>) -> Result<Option<Question>, String> {
    let matches = Flags::command()
        .try_get_matches_from(std::iter::once("genhash".into()).chain(args))
        .map_err(|error| error.render().to_string())?;
    let flags = Flags::from_arg_matches(&matches).map_err(|error| error.render().to_string())?;
    let (false, Some(server), Some(port), Some(url)) = (flags.help, flags.server, flags.port, flags.url) else {
        return Ok(None);
    };
    let address: IpAddr = server.parse().map_err(|_| format!("server should be an IP, not {server}"))?;
    let port: u16 =
        port.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("invalid port number '{port}'"))?;
    let server = SocketAddr::new(address, port);
    let mark = match flags.fwmark {
        Some(mark) => Some(mark.parse().map_err(|_| format!("invalid fwmark '{mark}'"))?),
        None => None,
    };
    let patience = match flags.timeout {
        Some(seconds) => seconds
            .parse()
            .ok()
            .filter(|seconds: &u32| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.into()))
            .ok_or_else(|| format!("invalid timeout '{seconds}'"))?,
        None => PATIENCE,
    };
    let protocol = match flags.protocol.as_str() {
        "1.0" => HttpProtocol::V10,
        "1.0c" => HttpProtocol::V10Close,
        "1.1" => HttpProtocol::V11,
        other => return Err(format!("invalid HTTP protocol version '{other}'")),
    };
    let name = if flags.use_sni { flags.use_virtualhost.clone() } else { None };
    Ok(Some(Question {
        server,
        url,
        host: flags.use_virtualhost.unwrap_or_else(|| server.to_string()),
        protocol,
        tls: flags.use_ssl.then_some(name),
        mark,
        patience,
        verbose: flags.verbose,
    }))
}

impl Question {
    fn request(&self) -> String {
        http::request(&self.url, self.protocol, &self.host)
    }

    fn connect(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.server), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        socket.connect_timeout(&self.server.into(), self.patience)?;
        socket.set_read_timeout(Some(self.patience))?;
        socket.set_write_timeout(Some(self.patience))?;
        Ok(socket)
    }
}

fn ask(question: &Question, out: &mut impl Write) -> Result<(), String> {
    let mut socket = question.connect().map_err(|error| format!("Connection failed: {}: {error}", question.server))?;
    let request = question.request();
    match &question.tls {
        None => {
            socket.write_all(request.as_bytes()).map_err(|error| format!("Cannot send the request: {error}"))?;
            sum(&mut socket, question.verbose, out)
        }
        Some(name) => {
            let broken = |error: io::Error| {
                let why = error.get_ref().and_then(|inner| inner.downcast_ref()).map(tls::words);
                format!("SSL handshake/communication error: {}", why.unwrap_or_else(|| error.to_string().into()))
            };
            let mut stream = tls::Client::new(None).and_then(|client| client.stream(name.as_deref(), socket))?;
            stream.write_all(request.as_bytes()).map_err(broken)?;
            sum(&mut Unsigned(stream), question.verbose, out)
        }
    }
}

/// An answer over TLS whose end may come without a word (close_notify), as from many a server.
#[derive(Debug)]
struct Unsigned<R>(R);

impl<R: Read> Read for Unsigned<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }
}

/// Reads an answer to its end.
fn sum(from: &mut impl Read, verbose: bool, out: &mut impl Write) -> Result<(), String> {
    let mut buffer = vec![0; 1 << 16];
    let mut more = |into: &mut Vec<u8>| -> Result<bool, String> {
        let read = loop {
            match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err("Timeout: the server is silent".into());
                }
                other => break other.map_err(|error| format!("Cannot read the answer: {error}"))?,
            }
        };
        into.extend_from_slice(buffer.get(..read).unwrap_or_default());
        Ok(read > 0)
    };
    let mut header = Vec::new();
    let end = loop {
        if let Some(at) = header.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if header.len() > LONGEST_HEADER || !more(&mut header)? {
            return Err("no data received from remote webserver".into());
        }
    };
    let mut page = header.split_off(end);
    // Who reads this may have gone; the sum is then for nobody.
    let _ = answer_shown(&header, &mut page, verbose, out, &mut more)?;
    Ok(())
}

fn answer_shown(
    header: &[u8],
    page: &mut Vec<u8>,
    verbose: bool,
    out: &mut impl Write,
    more: &mut impl FnMut(&mut Vec<u8>) -> Result<bool, String>,
) -> Result<io::Result<()>, String> {
    let mut digest = Md5::new();
    let mut rows = dump::Rows::default();
    if verbose {
        dump::title(out, "    HTTP Header Buffer    ");
        let mut rows = dump::Rows::default();
        rows.add(out, header);
        rows.end(out);
        dump::title(out, " HTTP Header Ascii Buffer ");
        let _ = out.write_all(header).and_then(|()| writeln!(out));
    }
    let mut titled = false;
    loop {
        if verbose && !titled && !page.is_empty() {
            dump::title(out, "        HTML Buffer        ");
            titled = true;
        }
        digest.update(&*page);
        if verbose {
            rows.add(out, page);
        }
        page.clear();
        if !more(page)? {
            break;
        }
    }
    let digest = digest.finalize();
    if verbose {
        rows.end(out);
        let _ = writeln!(out);
        dump::title(out, "    HTML hash resulting    ");
        let mut rows = dump::Rows::default();
        rows.add(out, &digest);
        rows.end(out);
        dump::title(out, " HTML hash final resulting ");
    }
    let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(writeln!(out, "{text}"))
}

#[cfg(test)]
mod tests;
