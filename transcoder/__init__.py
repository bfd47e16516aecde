"""From a probe to a plan, from a plan to commands, from fragments to manifests. All pure."""
