use std::net::SocketAddr;
use std::ops::Deref;

use vostro_rabbitmq::Endpoint;
use vostro_rabbitmq::testing::{AMQP_URL, TestBroker};
use vostro_rabbitmq::topology::user_name;

/// A stretch of network between a client and the broker that a test can cut, block and speak into.
pub struct Proxy {
    /// As an administrator.
    pub endpoint: Endpoint,
    /// As the user of auth, who publishes.
    pub publishing: Endpoint,
    network: vostro_testkit::Proxy,
}

impl Deref for Proxy {
    type Target = vostro_testkit::Proxy;

    fn deref(&self) -> &Self::Target {
        &self.network
    }
}

impl Proxy {
    pub async fn to(broker: &TestBroker) -> Self {
        let mut url: reqwest::Url = std::env::var(AMQP_URL).expect("set").parse().expect("an address");
        let target = (url.host_str().expect("a host").to_owned(), url.port().unwrap_or(5672));
        let target: SocketAddr =
            tokio::net::lookup_host(target).await.expect("the broker's host").next().expect("an address");
        let network = vostro_testkit::Proxy::to(target).await;
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(network.address().port())).expect("a port");
        let endpoint = Endpoint::parse(url.as_str()).expect("an address").with_vhost(&broker.vhost);
        let password = broker.passwords().of("auth").expect("auth is a module of these tests");
        let publishing = endpoint.clone().with_login(&user_name(&broker.vhost, "auth"), password);
        Self { endpoint, publishing, network }
    }

    /// Tells the clients that the broker accepts no messages, as it does under a memory alarm.
    pub fn block(&self) {
        let mut arguments = vec![13];
        arguments.extend(b"low on memory");
        self.say_method(60, &arguments);
    }

    pub fn unblock(&self) {
        self.say_method(61, &[]);
    }

    /// A method of AMQP's class `connection`, in a frame on channel 0.
    fn say_method(&self, method: u16, arguments: &[u8]) {
        let size = u32::try_from(4 + arguments.len()).expect("short");
        let mut frame = vec![1, 0, 0];
        frame.extend(size.to_be_bytes());
        frame.extend(10_u16.to_be_bytes());
        frame.extend(method.to_be_bytes());
        frame.extend(arguments);
        frame.push(0xCE);
        self.say(frame);
    }
}
