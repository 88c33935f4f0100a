# The servers of keepalived.conf. One line for what was said: PORT > what the check sends, PORT < what it hears.
import os, socket, ssl, sys, threading

lock = threading.Lock()

def tell(port, way, data):
    with lock:
        os.write(1, f"GOLD {port} {way} {data.hex()}\n".encode())

def http(stream, port, note=None):
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        piece = stream.recv(1)
        if not piece:
            return
        request += piece
    if note:
        tell(port, "name", note.encode())
    tell(port, ">", request)
    answer = b"HTTP/1.0 200 OK\r\n\r\nhello\n"
    tell(port, "<", answer)
    stream.sendall(answer)

def smtp(stream, port):
    for answer in (b"220 mail ready\r\n", b"250 mail\r\n", b"221 bye\r\n"):
        tell(port, "<", answer)
        stream.sendall(answer)
        line = stream.recv(1000)
        if line:
            tell(port, ">", line)

def tcp(stream, port):
    tell(port, ">", stream.recv(1000))

def tls(stream, port):
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("server.crt", "server.key")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    http(context.wrap_socket(stream, server_side=True), port, names[0] or "-")

def serve(family, address, port, what):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen()
    while True:
        stream, _ = listener.accept()
        try:
            what(stream, port)
        except OSError:
            pass
        stream.close()

def datagrams(port, answer):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", port))
    while True:
        data, peer = server.recvfrom(2000)
        tell(port, ">", data)
        reply = answer(data)
        tell(port, "<", reply)
        server.sendto(reply, peer)

def dns(data):
    return data[:2] + bytes([data[2] | 0x80, 0x80]) + data[4:]

def pings(family, protocol, port, request, reply, header):
    raw = socket.socket(family, socket.SOCK_RAW, protocol)
    while True:
        message = raw.recvfrom(2000)[0][header:]
        if message[0] in (request, reply):
            tell(port, ">" if message[0] == request else "<", message)

jobs = [(serve, socket.AF_INET, "127.0.0.1", port, http) for port in (8001, 8002, 8003, 8004, 8011)]
jobs += [(serve, socket.AF_INET6, "::1", 8012, http), (serve, socket.AF_INET, "127.0.0.1", 8007, tcp)]
jobs += [(serve, socket.AF_INET, "127.0.0.1", port, smtp) for port in (8025, 8026)]
jobs += [(serve, socket.AF_INET, "127.0.0.1", 8443, tls)]
jobs += [(datagrams, port, dns) for port in range(8053, 8062)]
jobs += [(datagrams, 8091, lambda data: data), (datagrams, 8092, lambda data: b"\x01\x55\xff")]
jobs += [(pings, socket.AF_INET, 1, 8097, 8, 0, 20), (pings, socket.AF_INET6, 58, 8098, 128, 129, 0)]
for function, *arguments in jobs:
    threading.Thread(target=function, args=arguments, daemon=True).start()
sys.stdin.read()
