"""Carries requests and answers over Apache Kafka."""
