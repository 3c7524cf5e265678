"""What PEGASUS is, in no framework: configuration, parameters, masks, positions, output records."""
