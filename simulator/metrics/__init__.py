"""Samples, histograms, snapshots and thresholds: how a run is measured."""
