//! A running server: bind, wire, serve, drain.

use crate::{
    config::{Config, Role},
    environment::Environment,
    output,
    runtime_file::{Guard, RuntimeFile},
    wiring::{self, Door, Parts},
};
use anyhow::{Context, Result, bail};
use master_api::MasterApi as Store;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// Where a server listens. None: that part is not in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Public HTTP.
    pub http: Option<SocketAddr>,
    /// Public gRPC.
    pub grpc: Option<SocketAddr>,
    /// Metrics and health.
    pub admin: SocketAddr,
    /// The broker, for gateways.
    pub broker: Option<SocketAddr>,
    /// The schema registry, for gateways and brokers.
    pub schema_registry: Option<SocketAddr>,
    /// Master API over HTTP, for gateways.
    pub master_api_http: Option<SocketAddr>,
    /// Master API over gRPC, for all parts.
    pub master_api_grpc: Option<SocketAddr>,
    /// The queue, for brokers and consumers.
    pub queue: Option<SocketAddr>,
}

/// The sockets of a process, bound before anything else is done.
struct Sockets {
    admin: TcpListener,
    doors: Vec<(Door, TcpListener)>,
}

impl Sockets {
    async fn bind(config: &Config) -> Result<Self> {
        let split = !config.roles.is_all();
        // In one process the inner doors open only where an address is given.
        let inner = |role, address: Option<SocketAddr>, port: u16| {
            let usual = split.then(|| SocketAddr::from(([127, 0, 0, 1], port)));
            address.or(usual).filter(|_| config.roles.has(role))
        };
        let public = |address| config.roles.has(Role::Gateway).then_some(address);
        let wanted = [
            (Door::PublicHttp, public(config.gateway.http)),
            (Door::PublicGrpc, public(config.gateway.grpc)),
            (Door::Broker, inner(Role::Broker, config.broker.grpc, 9620)),
            (Door::SchemaRegistry, inner(Role::SchemaRegistry, config.schema_registry.grpc, 9630)),
            (Door::MasterApiHttp, inner(Role::MasterApi, config.master_api.http, 9610)),
            (Door::MasterApiGrpc, inner(Role::MasterApi, config.master_api.grpc, 9611)),
            (Door::Queue, inner(Role::Queue, config.queue.grpc, 9640)),
        ];
        let mut doors = Vec::new();
        for (door, address) in wanted {
            if let Some(address) = address {
                doors.push((door, bind(address).await?));
            }
        }
        Ok(Self { admin: bind(config.admin.http).await?, doors })
    }

    fn addresses(&self) -> Result<Addresses> {
        let of = |door: Door| {
            let found = self.doors.iter().find(|(name, _)| *name == door);
            found.map(|(_, listener)| listener.local_addr()).transpose()
        };
        Ok(Addresses {
            http: of(Door::PublicHttp)?,
            grpc: of(Door::PublicGrpc)?,
            admin: self.admin.local_addr()?,
            broker: of(Door::Broker)?,
            schema_registry: of(Door::SchemaRegistry)?,
            master_api_http: of(Door::MasterApiHttp)?,
            master_api_grpc: of(Door::MasterApiGrpc)?,
            queue: of(Door::Queue)?,
        })
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// A server that runs until it is stopped.
pub struct Server {
    addresses: Addresses,
    drain: Duration,
    /// Public doors, loops, inner doors: stopped in this order.
    stages: [Stage; 3],
    /// Master API, closed last.
    store: Option<Arc<Store>>,
    /// Tells everybody who asks that it is not ready any more.
    stopping: CancellationToken,
    /// Ends the streams that would keep the inner doors open.
    streams: CancellationToken,
    /// Tells the command line where the server is, for as long as it runs.
    runtime_file: Option<Guard>,
}

/// Index of the stage of the inner doors.
const INNER: usize = 2;

/// Tasks that stop together.
#[derive(Default)]
struct Stage {
    stop: CancellationToken,
    tasks: JoinSet<Result<()>>,
}

impl Stage {
    /// Stops the tasks and waits until they have finished what is in hand.
    async fn finish(&mut self, deadline: Instant) -> Result<()> {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.context("a task panicked")??;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout_at(deadline, all).await.context("draining took too long")?
    }
}

impl Server {
    /// Binds, wires and serves. When this returns, the server is ready.
    pub async fn start(config: Config, environment: Environment) -> Result<Self> {
        let sockets = Sockets::bind(&config).await?;
        let addresses = sockets.addresses()?;
        let parts = wiring::wire(&config, &environment).await?;
        let Parts { mut routers, admin, loops, store, stopping, streams } = parts;
        let [mut public, mut work, mut inner] = <[Stage; 3]>::default();
        for (door, listener) in sockets.doors {
            let Some(router) = routers.remove(&door) else { bail!("nothing behind {door:?}") };
            let stage = if door.is_public() { &mut public } else { &mut inner };
            spawn_door(stage, listener, router, &config);
        }
        spawn_door(&mut inner, sockets.admin, admin, &config);
        for run in loops {
            let running = run(work.stop.clone());
            work.tasks.spawn(async move {
                running.await;
                Ok(())
            });
        }
        let runtime_file = match addresses.http {
            Some(_) => Some(runtime_file(&addresses).write(&config.data_dir)?),
            None => None,
        };
        let stages = [public, work, inner];
        let drain = config.drain.0;
        Ok(Self { addresses, drain, stages, store, stopping, streams, runtime_file })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Prints where it listens: ports may have been chosen by the system.
    pub fn announce(&self) -> Result<()> {
        let Addresses { http, grpc, admin, .. } = self.addresses;
        let inner = [
            ("broker", self.addresses.broker),
            ("schema-registry", self.addresses.schema_registry),
            ("master-api http", self.addresses.master_api_http),
            ("master-api grpc", self.addresses.master_api_grpc),
            ("queue", self.addresses.queue),
        ];
        let doors =
            [("http", http), ("grpc", grpc), ("admin", Some(admin))].into_iter().chain(inner);
        for (name, address) in doors {
            if let Some(address) = address {
                output::line(&format!("{name} {address}"))?;
            }
        }
        output::line("ready")
    }

    /// Returns when a part of it has ended by itself, which it should not.
    pub async fn failed(&mut self) -> anyhow::Error {
        let [public, work, inner] = &mut self.stages;
        let ended = tokio::select! {
            Some(ended) = public.tasks.join_next() => ended,
            Some(ended) = work.tasks.join_next() => ended,
            Some(ended) = inner.tasks.join_next() => ended,
        };
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => anyhow::anyhow!("a part stopped by itself"),
            Err(error) => anyhow::Error::new(error).context("a task panicked"),
        }
    }

    /// Takes nothing new, finishes and records what is in flight, and closes the log.
    pub async fn stop(mut self) -> Result<()> {
        let mut first_error = None;
        self.stopping.cancel();
        drop(self.runtime_file.take());
        // One deadline for all: what a slow client takes, the others do not have.
        let deadline = Instant::now() + self.drain;
        for (number, stage) in self.stages.iter_mut().enumerate() {
            if number == INNER {
                self.streams.cancel();
            }
            if let Err(error) = stage.finish(deadline).await {
                tracing::warn!(error = format!("{error:#}"), "a part did not stop cleanly");
                first_error = first_error.or(Some(error));
            }
        }
        if let Some(store) = &self.store {
            store.close().await;
        }
        first_error.map_or(Ok(()), Err)
    }
}

fn spawn_door(stage: &mut Stage, listener: TcpListener, router: axum::Router, config: &Config) {
    let limits = config.gateway.listener.clone();
    let serving = gateway::serve::serve(listener, router, limits, stage.stop.clone());
    stage.tasks.spawn(async move { Ok(serving.await?) });
}

fn runtime_file(addresses: &Addresses) -> RuntimeFile {
    RuntimeFile {
        pid: std::process::id(),
        http: addresses.http,
        grpc: addresses.grpc,
        admin: addresses.admin,
    }
}
