-- A fashion shop's till database, in its own words (German) and its own time (Berlin). Everything in it is invented.
CREATE TABLE filialen (nr INTEGER PRIMARY KEY, bezeichnung TEXT, ort TEXT, stadtteil TEXT);
INSERT INTO filialen VALUES (1, 'Altstadt', 'Lübeck', 'Innenstadt'), (2, 'Hafen', 'Lübeck', 'St. Lorenz');

CREATE TABLE artikel (
  artnr TEXT PRIMARY KEY, name TEXT, marke TEXT, warengruppe TEXT, preis NUMERIC, farbe TEXT, material TEXT, groessen TEXT
);
INSERT INTO artikel VALUES
  ('H-100', 'Hemd Oxford', 'Nordlicht', 'HERREN/HEMDEN', 49.90, 'blau', 'Baumwolle', 'S|M|L|XL'),
  ('H-101', 'Hemd Leinen', 'Nordlicht', 'HERREN/HEMDEN', 59.90, 'weiß', 'Leinen', 'M|L'),
  ('D-200', 'Kleid Sommer', 'Windspiel', 'DAMEN/KLEIDER', 79.00, 'grün', 'Viskose', '36|38|40'),
  ('D-201', 'Rock Falten', 'Windspiel', 'DAMEN/RÖCKE', 54.50, 'schwarz', 'Wolle', '36|38'),
  ('A-300', 'Schal', 'Nordlicht', 'ACCESSOIRES/SCHALS', 24.95, 'rot', 'Wolle', NULL);

CREATE TABLE buchungen (
  bon INTEGER, pos INTEGER, zeit TEXT, filiale INTEGER, kundenkarte TEXT, artnr TEXT, vorgang TEXT, menge INTEGER,
  einzelpreis NUMERIC, PRIMARY KEY (bon, pos)
);
INSERT INTO buchungen VALUES
  (5001, 1, '17.10.2026 11:05', 1, 'K-17', 'H-100', 'Verkauf', 1, 49.90),
  (5001, 2, '17.10.2026 11:05', 1, 'K-17', 'A-300', 'Verkauf', 1, 24.95),
  (5002, 1, '17.10.2026 15:40', 2, 'K-22', 'D-200', 'Verkauf', 1, 79.00),
  (5003, 1, '24.10.2026 10:15', 1, 'K-17', 'A-300', 'Retoure', 1, 24.95),
  (5004, 1, '26.10.2026 16:30', 2, 'K-31', 'D-201', 'Verkauf', 1, 54.50),
  (5005, 1, '27.10.2026 12:00', 1, 'K-22', 'H-101', 'Verkauf', 2, 59.90),
  (5006, 1, '27.10.2026 12:10', 1, 'K-31', 'D-200', 'Umtausch', 1, 79.00),
  (5007, 1, '27.10.2026 13:00', 1, NULL, 'A-300', 'Verkauf', 1, 24.95);
