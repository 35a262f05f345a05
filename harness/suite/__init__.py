"""From a YAML file to the list of trials it asks for; nothing but the file is touched while it is read."""
