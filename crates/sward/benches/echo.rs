//! A round trip of 64 bytes between two green threads of one worker, over loopback TCP, on each engine: four operations, of
//! which two have to wait.
//!
//! ```text
//! cargo bench -p sward --bench echo
//! ```

use std::io::{self, Read, Write};

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use sward::net::{TcpListener, TcpStream};
use sward::{Builder, EngineKind, thread};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("echo, 64 bytes");
    for engine in EngineKind::ALL {
        // SAFETY: nothing here holds a scoped thread-local value across a blocking call.
        let measured =
            unsafe { Builder::new().workers(1).engine(engine).run(|| measure(&mut group, engine)) };
        if let Err(error) = measured.and_then(|measured| measured) {
            eprintln!("{}: {error}", engine.name());
        }
    }
    group.finish();
    criterion.final_summary();
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, engine: EngineKind) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let server = thread::spawn(move || echo(server));
    let mut message = [7; 64];
    group.bench_function(engine.name(), |bench| {
        bench.iter(|| {
            client.write_all(&message).expect("the server reads");
            client.read_exact(&mut message).expect("the server writes");
        });
    });
    drop(client);
    server.join().expect("no panic")
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}
