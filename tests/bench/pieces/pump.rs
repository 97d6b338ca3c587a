//! The relay between a client and `cat` on a real sshd: bytes up, the same bytes down.

use crate::{gateway::Gateway, vm::Vm};
use criterion::{Criterion, Throughput};
use russh::{
    Channel, ChannelMsg,
    client::{self, Handle, Msg},
    keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key},
};
use std::sync::Arc;
use tokio::runtime::Runtime;

const INSTANCE: &str = "i-pump";

struct Anybody;

impl client::Handler for Anybody {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// One byte there and back, and a mebibyte there and back.
pub fn pump(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let vm = Vm::start("pump", INSTANCE, "");
    let (_handle, mut channel) = runtime.block_on(cat(&vm));
    let mut group = criterion.benchmark_group("pump");
    group.sample_size(20);
    for (name, bytes) in [("1 byte there and back", 1), ("1 MiB there and back", 1 << 20)] {
        let piece = vec![7; bytes];
        group.throughput(Throughput::Bytes(2 * bytes as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| runtime.block_on(there_and_back(&mut channel, &piece)));
        });
    }
    group.finish();
}

/// A channel through the relay to a `cat`.
async fn cat(vm: &Vm) -> (Handle<Anybody>, Channel<Msg>) {
    let gateway = Gateway::start(vm, INSTANCE).await;
    let config = Arc::new(client::Config { nodelay: true, ..client::Config::default() });
    let at = ("127.0.0.1", gateway.port);
    let mut handle = client::connect(config, at, Anybody).await.unwrap();
    let key = load_secret_key(vm.folder.join("operator"), None).unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    assert!(handle.authenticate_publickey("x", key).await.unwrap().success());
    let channel = handle.channel_open_session().await.unwrap();
    channel.exec(true, "cat").await.unwrap();
    (handle, channel)
}

async fn there_and_back(channel: &mut Channel<Msg>, piece: &[u8]) {
    let (bytes, mut back) = (piece.len(), 0);
    let sender = channel.make_writer();
    let send = async {
        use tokio::io::AsyncWriteExt as _;
        let mut sender = sender;
        sender.write_all(piece).await.unwrap();
    };
    let receive = async {
        while back < bytes {
            match channel.wait().await {
                Some(ChannelMsg::Data { data }) => back += data.len(),
                Some(_) => {}
                None => panic!("the channel ended"),
            }
        }
    };
    tokio::join!(send, receive);
}
