"""The promises of the library, each as a test on a real Redis, with real processes and faults."""
