"""Draw charts as inline SVG that is readable without style sheets, and write the table of each one."""
