"""What carries interactions out: an adapter a protocol, each behind `bide.spi.transport`."""
