"""Where the rows lie: in memory, in an SQLite file. Each implements `bide.spi.store.Store`."""
