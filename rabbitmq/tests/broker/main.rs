//! Against a real RabbitMQ: what the unit tests can only assume. Each test has a virtual host of its own.
//!
//! `VOSTRO_TEST_AMQP_URL` and `VOSTRO_TEST_MANAGEMENT_URL` name the broker; `make test` provides one.

mod consuming;
mod permissions;
mod proxy;
mod publishing;
mod recovery;
mod rpc;
mod support;
mod topology;
