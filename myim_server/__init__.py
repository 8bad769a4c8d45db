"""The MyIM server: roles, rules, storage. Nothing is imported or patched here, so that importing one part costs only that part."""
