"""Define the wire and file formats that probe and collector share: batches, receipts, transfer files."""
