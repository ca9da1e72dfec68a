"""Compiled inner loops of the ring, the sketch and the sharing. Everything above them is numpy on uint32 residues."""
