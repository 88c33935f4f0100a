//! The web server of a lab server: nginx where it is installed, else a responder of the lab's own.

use super::Trouble;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// This program's own file.
pub const OWN: &str = "/proc/self/exe";

/// How the web server is started inside: its argument vector, and a file that must be written first.
pub struct Web {
    pub argv: Vec<String>,
    pub file: Option<(PathBuf, String)>,
    /// As it is called in what people read.
    pub name: &'static str,
}

/// nginx's program file, if it is installed.
pub fn nginx() -> Option<PathBuf> {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].iter().map(PathBuf::from).find(|p| p.is_file())
}

/// The directory that a site configuration serves.
pub fn root_of(site: &str) -> Option<PathBuf> {
    let line = site.lines().map(str::trim).find_map(|l| l.strip_prefix("root "))?;
    let path = PathBuf::from(line.trim_end_matches(';').trim());
    path.is_absolute().then_some(path)
}

/// What to run on a server called `node`: an example's own services, or a web server. `site` is an nginx site
/// configuration to be used as it is.
pub fn plan(node: &str, site: Option<&str>, services: Option<PathBuf>) -> Web {
    if let Some(program) = services {
        let argv = vec![program.to_string_lossy().into_owned(), node.to_owned()];
        return Web { argv, file: None, name: "its services" };
    }
    let Some(nginx) = nginx() else {
        return Web {
            argv: vec![OWN.into(), "lab-web".into(), node.into()],
            file: None,
            name: "the lab's own responder",
        };
    };
    let own = format!(
        "server {{ listen 80 default_server; listen [::]:80 default_server;\n\
         add_header X-Served-By {node} always; location / {{ return 200 \"{node}\\n\"; }} }}"
    );
    let text = format!(
        "daemon off; pid /run/lab/nginx.pid; error_log stderr warn; worker_processes 1;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off;\n\
         client_body_temp_path /run/lab/tmp/body; proxy_temp_path /run/lab/tmp/proxy;\n\
         fastcgi_temp_path /run/lab/tmp/fastcgi; uwsgi_temp_path /run/lab/tmp/uwsgi; scgi_temp_path /run/lab/tmp/scgi;\n\
         {}\n}}\n",
        site.unwrap_or(&own)
    );
    let file = PathBuf::from("/run/lab/nginx.conf");
    let argv = [&nginx.to_string_lossy(), "-e", "stderr", "-c", "/run/lab/nginx.conf"].map(str::to_owned).into();
    Web { argv, file: Some((file, text)), name: "nginx" }
}

/// Where the site configuration of an example stands.
pub fn site_beside(directory: &Path) -> Option<PathBuf> {
    ["nginx-site.conf", "nginx.conf"].iter().map(|name| directory.join(name)).find(|p| p.is_file())
}

/// The responder: answers everything on port 80 with its name, until it is killed.
///
/// # Errors
/// Port 80 is taken.
pub fn serve(node: &str) -> Result<ExitCode, Trouble> {
    // Checks such as `pgrep nginx` or `killall -0 nginx` look for this name.
    let _ = nix::sys::prctl::set_name(c"nginx");
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80)).or_else(|_| TcpListener::bind(("0.0.0.0", 80)));
    let listener = listener.map_err(|e| Trouble::new(format!("port 80: {e}")))?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let node = node.to_owned();
        std::thread::spawn(move || {
            let _ = answer(stream, &node);
        });
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(mut stream: TcpStream, node: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut request = [0; 2048];
    let _ = stream.read(&mut request)?;
    let body = format!("{node}\n");
    let length = body.len();
    write!(
        stream,
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nX-Served-By: {node}\r\nConnection: close\r\n\r\n{body}"
    )
}
